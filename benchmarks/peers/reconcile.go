package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// How long the vendor's reads may lag behind a call whose answer was lost.
const grace = 30 * time.Second

type reconciler struct {
	client.Client
	cloud    *cloud
	tokens   *tokens
	recorder events.EventRecorder
	poll     time.Duration
	// careful: look at the engine and write a fenced intent before each call.
	careful bool
}

func (r *reconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	resource := &MicroserviceEngine{}
	if err := r.Get(ctx, request.NamespacedName, resource); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !resource.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	result, err := r.step(ctx, resource)
	if apierrors.IsConflict(err) {
		// The cache was behind: look again soon, it is no error.
		return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
	}
	return result, err
}

func (r *reconciler) step(ctx context.Context, resource *MicroserviceEngine) (ctrl.Result, error) {
	upgrade := resource.Status.Upgrade
	settled := resource.Status.ObservedGeneration == resource.Generation
	switch {
	case upgrade != nil && upgrade.Result == "" && upgrade.JobID != 0:
		return r.follow(ctx, resource)
	case upgrade != nil && upgrade.Result == "":
		return r.resolve(ctx, resource)
	case settled, resource.Spec.Suspend:
		return ctrl.Result{}, nil
	case !r.careful && resource.Status.CurrentVersion != "":
		return r.startAt(ctx, resource, nil)
	}
	token, err := r.token(ctx, resource)
	if err != nil {
		return ctrl.Result{}, err
	}
	found, err := r.cloud.showEngine(ctx, token, &resource.Spec)
	if err != nil {
		return ctrl.Result{}, err
	}
	return r.startAt(ctx, resource, found)
}

// startAt makes the call if the engine is behind the wanted version. Without a look at the engine the
// version in the status is taken for the engine's.
func (r *reconciler) startAt(
	ctx context.Context, resource *MicroserviceEngine, seen *engine,
) (ctrl.Result, error) {
	status, base := &resource.Status, resource.DeepCopy()
	status.ObservedGeneration = resource.Generation
	if seen != nil {
		status.CurrentVersion, status.LatestVersion = seen.Version, seen.LatestVersion
	}
	if status.CurrentVersion == resource.Spec.Version {
		message := "engine is at " + status.CurrentVersion
		status.Upgrade = nil
		conclude(resource, phaseUpToDate, metav1.ConditionTrue, message)
		return ctrl.Result{}, r.write(ctx, resource, base, corev1.EventTypeNormal)
	}
	if seen != nil && seen.Status != "Available" {
		return ctrl.Result{RequeueAfter: r.poll}, nil
	}
	status.Upgrade = &UpgradeRecord{
		Action:        "Upgrade",
		WantedVersion: resource.Spec.Version,
		FromVersion:   status.CurrentVersion,
		TargetVersion: resource.Spec.Version,
		RequestedAt:   metav1.Now(),
	}
	status.JobID, status.Result = 0, ""
	if r.careful {
		status.Upgrade.BaselineJobID = seen.LatestJobID
		conclude(resource, phaseSubmitting, metav1.ConditionFalse, "calling Upgrade")
		if err := r.patch(ctx, resource, base); err != nil {
			return ctrl.Result{}, err
		}
		base = resource.DeepCopy()
	}
	return r.call(ctx, resource, base)
}

func (r *reconciler) call(
	ctx context.Context, resource, base *MicroserviceEngine,
) (ctrl.Result, error) {
	token, err := r.token(ctx, resource)
	if err != nil {
		return ctrl.Result{}, err
	}
	answer, err := r.cloud.upgrade(ctx, token, &resource.Spec)
	if isRefused(err) {
		return ctrl.Result{}, r.end(ctx, resource, base, resultRejected, err.Error())
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return r.started(ctx, resource, base, answer.JobID)
}

func (r *reconciler) started(
	ctx context.Context, resource, base *MicroserviceEngine, jobID int64,
) (ctrl.Result, error) {
	upgrade := resource.Status.Upgrade
	upgrade.JobID, resource.Status.JobID = jobID, jobID
	message := fmt.Sprintf(
		"upgrading from %s to %s, job %d", upgrade.FromVersion, upgrade.TargetVersion, jobID,
	)
	conclude(resource, phaseUpgrading, metav1.ConditionFalse, message)
	err := r.write(ctx, resource, base, corev1.EventTypeNormal)
	return ctrl.Result{RequeueAfter: r.poll}, err
}

// resolve finds out what became of an intent whose answer was not recorded.
func (r *reconciler) resolve(
	ctx context.Context, resource *MicroserviceEngine,
) (ctrl.Result, error) {
	base, upgrade := resource.DeepCopy(), resource.Status.Upgrade
	token, err := r.token(ctx, resource)
	if err != nil {
		return ctrl.Result{}, err
	}
	seen, err := r.cloud.showEngine(ctx, token, &resource.Spec)
	if err != nil {
		return ctrl.Result{}, err
	}
	if seen.LatestJobID != upgrade.BaselineJobID {
		return r.started(ctx, resource, base, seen.LatestJobID)
	}
	if left := grace - time.Since(upgrade.RequestedAt.Time); left > 0 {
		return ctrl.Result{RequeueAfter: min(left, time.Second)}, nil
	}
	upgrade.RequestedAt = metav1.Now()
	if err := r.patch(ctx, resource, base); err != nil {
		return ctrl.Result{}, err
	}
	return r.call(ctx, resource, resource.DeepCopy())
}

func (r *reconciler) follow(
	ctx context.Context, resource *MicroserviceEngine,
) (ctrl.Result, error) {
	base, upgrade := resource.DeepCopy(), resource.Status.Upgrade
	token, err := r.token(ctx, resource)
	if err != nil {
		return ctrl.Result{}, err
	}
	found, err := r.cloud.showJob(ctx, token, &resource.Spec, upgrade.JobID)
	if err != nil {
		return ctrl.Result{}, err
	}
	upgrade.JobStatus = found.Status
	upgrade.StartedAt, upgrade.FinishedAt = moment(found.StartTime), moment(found.EndTime)
	switch found.Status {
	case "Finished":
		resource.Status.CurrentVersion = upgrade.TargetVersion
		message := "engine is at " + upgrade.TargetVersion
		err = r.end(ctx, resource, base, resultSucceeded, message)
	case "Error":
		err = r.end(ctx, resource, base, resultFailed, "the job failed")
	case "Timeout":
		err = r.end(ctx, resource, base, resultTimedOut, "the job timed out")
	default:
		return ctrl.Result{RequeueAfter: r.poll}, nil
	}
	if err != nil || resource.Status.ObservedGeneration == resource.Generation {
		return ctrl.Result{}, err
	}
	// The spec changed while the job ran. A moment later the cache has the end of this upgrade.
	return ctrl.Result{RequeueAfter: 100 * time.Millisecond}, nil
}

func (r *reconciler) end(
	ctx context.Context, resource, base *MicroserviceEngine, result, message string,
) error {
	resource.Status.Result, resource.Status.Upgrade.Result = result, result
	if result == resultSucceeded {
		conclude(resource, phaseUpToDate, metav1.ConditionTrue, message)
		return r.write(ctx, resource, base, corev1.EventTypeNormal)
	}
	conclude(resource, phaseFailed, metav1.ConditionFalse, message)
	return r.write(ctx, resource, base, corev1.EventTypeWarning)
}

func conclude(
	resource *MicroserviceEngine, phase string, ready metav1.ConditionStatus, message string,
) {
	// Of the generation that was decided on: the spec may have changed while the job ran.
	status := &resource.Status
	status.Phase, status.Message = phase, message
	meta.SetStatusCondition(&status.Conditions, metav1.Condition{
		Type:               "Ready",
		Status:             ready,
		ObservedGeneration: status.ObservedGeneration,
		Reason:             phase,
		Message:            message,
	})
}

// write patches the status and says in an Event what changed.
func (r *reconciler) write(
	ctx context.Context, resource, base *MicroserviceEngine, eventType string,
) error {
	if err := r.patch(ctx, resource, base); err != nil {
		return err
	}
	status := &resource.Status
	r.recorder.Eventf(resource, nil, eventType, status.Phase, "Reconcile", "%s", status.Message)
	return nil
}

func (r *reconciler) patch(ctx context.Context, resource, base *MicroserviceEngine) error {
	change := client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
	return r.Status().Patch(ctx, resource, change)
}

func (r *reconciler) token(ctx context.Context, resource *MicroserviceEngine) (string, error) {
	name := types.NamespacedName{
		Namespace: resource.Namespace, Name: resource.Spec.CredentialsRef.Name,
	}
	return r.tokens.of(ctx, name)
}

func moment(milliseconds int64) *metav1.Time {
	if milliseconds <= 0 {
		return nil
	}
	return &metav1.Time{Time: time.UnixMilli(milliseconds)}
}
