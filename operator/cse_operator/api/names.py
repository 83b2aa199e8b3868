"""The names of the resources in a cluster: group, version, kinds, annotations."""

from __future__ import annotations

from typing import Final

GROUP: Final = "cse-operator.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "MicroserviceEngine"
PLURAL: Final = "microserviceengines"
SINGULAR: Final = "microserviceengine"
SHORT_NAME: Final = "mse"
CATEGORY: Final = "cse"

POLICY_KIND: Final = "UpgradePolicy"
POLICY_PLURAL: Final = "upgradepolicies"
CLUSTER_POLICY_KIND: Final = "ClusterUpgradePolicy"
CLUSTER_POLICY_PLURAL: Final = "clusterupgradepolicies"

FIELD_MANAGER: Final = "cse-operator"

RECONCILE_REQUESTED_AT: Final = f"{GROUP}/reconcile-requested-at"
"""Annotation: a changed value asks for a look now; echoed in `status.lastHandledReconcileAt`."""

RETRY_REQUESTED_AT: Final = f"{GROUP}/retry-requested-at"
"""Annotation: a changed value unlocks a failed upgrade once; echoed in
`status.lastHandledRetryAt`."""

APPROVED_VERSION: Final = f"{GROUP}/approved-version"
"""Annotation: the version that a person approved, for policies with manual approval."""
