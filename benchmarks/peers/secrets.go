package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

const tokenLifetime = 30 * time.Second

// tokens reads the token of a Secret at most once in `tokenLifetime`. It reads past the manager's
// cache, which would list and watch all Secrets of the cluster.
type tokens struct {
	reader client.Reader
	mutex  sync.Mutex
	known  map[types.NamespacedName]knownToken
}

type knownToken struct {
	value   string
	expires time.Time
}

func (t *tokens) of(ctx context.Context, name types.NamespacedName) (string, error) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if known, ok := t.known[name]; ok && time.Now().Before(known.expires) {
		return known.value, nil
	}
	secret := &corev1.Secret{}
	if err := t.reader.Get(ctx, name, secret); err != nil {
		return "", err
	}
	value := string(secret.Data["token"])
	if value == "" {
		return "", fmt.Errorf("the Secret %s has no token", name)
	}
	t.known[name] = knownToken{value, time.Now().Add(tokenLifetime)}
	return value, nil
}
