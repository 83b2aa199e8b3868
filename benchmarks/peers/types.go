package main

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The resource as Go types: the fields of crds/microserviceengines.yaml that the peer uses.

var groupVersion = schema.GroupVersion{Group: "cse-operator.io", Version: "v1alpha1"}

const (
	phaseSubmitting = "Submitting"
	phaseUpgrading  = "Upgrading"
	phaseUpToDate   = "UpToDate"
	phaseFailed     = "Failed"

	resultSucceeded = "Succeeded"
	resultFailed    = "Failed"
	resultTimedOut  = "TimedOut"
	resultRejected  = "Rejected"
)

type Spec struct {
	Region              string               `json:"region"`
	ProjectID           string               `json:"projectId"`
	EngineID            string               `json:"engineId"`
	EnterpriseProjectID string               `json:"enterpriseProjectId,omitempty"`
	Version             string               `json:"version"`
	CredentialsRef      CredentialsReference `json:"credentialsRef"`
	Suspend             bool                 `json:"suspend,omitempty"`
	Upgrade             *UpgradePolicy       `json:"upgrade,omitempty"`
}

type CredentialsReference struct {
	Name string `json:"name"`
}

type UpgradePolicy struct {
	Timeout    string `json:"timeout,omitempty"`
	RetryLimit *int64 `json:"retryLimit,omitempty"`
}

type Status struct {
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
	Phase              string             `json:"phase,omitempty"`
	Message            string             `json:"message,omitempty"`
	CurrentVersion     string             `json:"currentVersion,omitempty"`
	LatestVersion      string             `json:"latestVersion,omitempty"`
	JobID              int64              `json:"jobId,omitempty"`
	Result             string             `json:"result,omitempty"`
	Upgrade            *UpgradeRecord     `json:"upgrade,omitempty"`
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
}

// UpgradeRecord is one upgrade. The careful peer writes it before the call (the intent, without a
// job), after it (the job) and at its end (the result).
type UpgradeRecord struct {
	Action        string       `json:"action"`
	WantedVersion string       `json:"wantedVersion"`
	FromVersion   string       `json:"fromVersion,omitempty"`
	TargetVersion string       `json:"targetVersion,omitempty"`
	RequestedAt   metav1.Time  `json:"requestedAt"`
	BaselineJobID int64        `json:"baselineJobId,omitempty"`
	JobID         int64        `json:"jobId,omitempty"`
	JobStatus     string       `json:"jobStatus,omitempty"`
	StartedAt     *metav1.Time `json:"startedAt,omitempty"`
	FinishedAt    *metav1.Time `json:"finishedAt,omitempty"`
	Result        string       `json:"result,omitempty"`
}

type MicroserviceEngine struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   Spec   `json:"spec"`
	Status Status `json:"status,omitempty"`
}

type MicroserviceEngineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []MicroserviceEngine `json:"items"`
}

func addToScheme(scheme *runtime.Scheme) {
	scheme.AddKnownTypes(groupVersion, &MicroserviceEngine{}, &MicroserviceEngineList{})
	metav1.AddToGroupVersion(scheme, groupVersion)
}

func (in *UpgradeRecord) DeepCopy() *UpgradeRecord {
	if in == nil {
		return nil
	}
	out := *in
	out.RequestedAt = *in.RequestedAt.DeepCopy()
	out.StartedAt = in.StartedAt.DeepCopy()
	out.FinishedAt = in.FinishedAt.DeepCopy()
	return &out
}

func (in *MicroserviceEngine) DeepCopyInto(out *MicroserviceEngine) {
	*out = *in
	in.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	if in.Spec.Upgrade != nil {
		policy := *in.Spec.Upgrade
		if policy.RetryLimit != nil {
			limit := *policy.RetryLimit
			policy.RetryLimit = &limit
		}
		out.Spec.Upgrade = &policy
	}
	out.Status.Upgrade = in.Status.Upgrade.DeepCopy()
	if in.Status.Conditions != nil {
		out.Status.Conditions = make([]metav1.Condition, len(in.Status.Conditions))
		for index := range in.Status.Conditions {
			in.Status.Conditions[index].DeepCopyInto(&out.Status.Conditions[index])
		}
	}
}

func (in *MicroserviceEngine) DeepCopy() *MicroserviceEngine {
	if in == nil {
		return nil
	}
	out := new(MicroserviceEngine)
	in.DeepCopyInto(out)
	return out
}

func (in *MicroserviceEngine) DeepCopyObject() runtime.Object { return in.DeepCopy() }

func (in *MicroserviceEngineList) DeepCopyObject() runtime.Object {
	out := &MicroserviceEngineList{TypeMeta: in.TypeMeta}
	in.ListMeta.DeepCopyInto(&out.ListMeta)
	if in.Items != nil {
		out.Items = make([]MicroserviceEngine, len(in.Items))
		for index := range in.Items {
			in.Items[index].DeepCopyInto(&out.Items[index])
		}
	}
	return out
}
