// The peers: the same upgrades by an operator on controller-runtime.
//
//	default  one worker, as controller-runtime has it without any option
//	tuned    64 workers, 5,000 requests a second
//	careful  as tuned, and with the promise that no upgrade is called twice: it looks at the
//	         engine, writes its intent with a resourceVersion precondition before each call, and
//	         reads from a cache that waits for its own writes
//
// A further mode, `load`, is no peer: it finds out how many calls the simulator can answer.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"go.uber.org/zap/zapcore"
)

func main() {
	mode := flag.String("mode", "careful", "default, tuned, careful or load")
	endpoint := flag.String("endpoint", "", "URL of the vendor's API")
	probe := flag.String("listen", "127.0.0.1:0", "address of /readyz")
	poll := flag.Duration("poll-interval", time.Second, "between looks at a running job")
	loadPath := flag.String("path", "", "of the calls in the mode load")
	loadSeconds := flag.Float64("seconds", 3, "of the mode load")
	flag.Parse()
	// Warnings and errors only, as the operator it is compared with.
	ctrl.SetLogger(zap.New(zap.Level(zapcore.WarnLevel)))
	var err error
	if *mode == "load" {
		err = load(*endpoint+*loadPath, *loadSeconds)
	} else {
		err = run(*mode, *endpoint, *probe, *poll)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(mode, endpoint, probe string, poll time.Duration) error {
	scheme := runtime.NewScheme()
	addToScheme(scheme)
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return err
	}
	workers := 1
	if mode != "default" {
		workers = 64
		config.QPS, config.Burst = 5000, 10000
	}
	manager, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:                 scheme,
		HealthProbeBindAddress: probe,
		Metrics:                server.Options{BindAddress: "0"},
		Cache:                  cache.Options{DefaultTransform: cache.TransformStripManagedFields()},
		Client: client.Options{
			Cache: &client.CacheOptions{EnableReadYourWritesConsistency: new(mode == "careful")},
		},
	})
	if err != nil {
		return err
	}
	reconciler := &reconciler{
		Client:   manager.GetClient(),
		cloud:    newCloud(endpoint, 64),
		tokens:   &tokens{reader: manager.GetAPIReader(), known: map[types.NamespacedName]knownToken{}},
		recorder: manager.GetEventRecorder("peer"),
		poll:     poll,
		careful:  mode == "careful",
	}
	err = ctrl.NewControllerManagedBy(manager).
		// Not woken by its own status writes.
		For(&MicroserviceEngine{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers}).
		Complete(reconciler)
	if err != nil {
		return err
	}
	if err := manager.AddReadyzCheck("synced", synced(manager.GetCache())); err != nil {
		return err
	}
	return manager.Start(ctrl.SetupSignalHandler())
}

func synced(all cache.Cache) func(*http.Request) error {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), 50*time.Millisecond)
		defer cancel()
		if !all.WaitForCacheSync(ctx) {
			return errors.New("the cache is not filled yet")
		}
		return nil
	}
}
