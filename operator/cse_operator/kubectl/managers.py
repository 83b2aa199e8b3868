"""Finds the GitOps tool that manages a resource, by the marks that it leaves on the resource.

The marks are Argo CD's tracking annotation (docs, Resource Tracking), Flux's labels of an owner,
Helm's labels and annotations of a release, and the managed fields of server-side apply.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from cse_operator.api.names import GROUP, KIND

_ARGO_CD: Final = "argocd-controller"
_CONTROLLERS: Final = {
    _ARGO_CD: "Argo CD",
    "kustomize-controller": "Flux",
    "helm-controller": "Flux",
    "helm": "Helm",
    "Terraform": "Terraform",
}
"""Field managers that revert other changes of a field, each with its tool."""
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
_OTHER_SIGNS: Final = {
    "configsync.gke.io/": "Config Sync",
    "objectset.rio.cattle.io/": "Fleet",
    "kapp.k14s.io/app": "kapp",
}


@dataclass(frozen=True, slots=True)
class Manager:
    """The tool that manages a resource, and the tool's object that does."""

    tool: str
    object: str | None = None

    def sentence(self) -> str:
        """Return the tool and its object in words."""
        by = f" ({self.object})" if self.object else ""
        return f"managed by {self.tool}{by}"


def manager_of(resource: Mapping[str, Any]) -> Manager | None:
    """Return the tool that manages a resource; None if no mark names one."""
    metadata = resource["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    return (
        _argo_cd(metadata, labels, annotations)
        or _flux(labels)
        or _helm(labels, annotations)
        or _other({**labels, **annotations})
        or _by_field(resource)
    )


def _argo_cd(
    metadata: Mapping[str, Any], labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Manager | None:
    tracking = annotations.get("argocd.argoproj.io/tracking-id", "")
    application, _, tail = tracking.partition(":")
    # Like Argo CD, ignore an annotation that was copied from another object.
    if tail == f"{GROUP}/{KIND}:{metadata['namespace']}/{metadata['name']}":
        return Manager("Argo CD", f"Application {application}")
    instance = labels.get("app.kubernetes.io/instance")
    if instance and any(entry.get("manager") == _ARGO_CD for entry in _entries(metadata)):
        return Manager("Argo CD", f"Application {instance}")
    return None


def _flux(labels: Mapping[str, str]) -> Manager | None:
    for prefix, kind in (("kustomize", "Kustomization"), ("helm", "HelmRelease")):
        name = labels.get(f"{prefix}.toolkit.fluxcd.io/name")
        if name:
            namespace = labels.get(f"{prefix}.toolkit.fluxcd.io/namespace", "")
            return Manager("Flux", f"{kind} {namespace}/{name}")
    return None


def _helm(labels: Mapping[str, str], annotations: Mapping[str, str]) -> Manager | None:
    release = annotations.get("meta.helm.sh/release-name")
    if labels.get("app.kubernetes.io/managed-by") == "Helm" and release:
        namespace = annotations.get("meta.helm.sh/release-namespace", "")
        return Manager("Helm", f"release {namespace}/{release}")
    return None


def _other(signs: Mapping[str, str]) -> Manager | None:
    for sign, tool in _OTHER_SIGNS.items():
        if any(name.startswith(sign) for name in signs):
            return Manager(tool)
    return None


def _by_field(resource: Mapping[str, Any]) -> Manager | None:
    tool = _CONTROLLERS.get(str(_owner_of(resource, "version")))
    return Manager(tool) if tool else None


def states(resource: Mapping[str, Any], field: str) -> bool:
    """Whether a declared manifest states a field of the spec, and so reverts other changes of it.

    That holds if a GitOps tool set the field, or any server-side apply did.
    """
    return any(
        entry.get("manager") in _CONTROLLERS or entry.get("operation") == "Apply"
        for entry in _entries_with(resource, field)
    )


def is_applied(resource: Mapping[str, Any]) -> bool:
    """Whether a tool or a person applies a manifest of the resource."""
    metadata = resource["metadata"]
    by_server = any(entry.get("operation") == "Apply" for entry in _entries(metadata))
    return by_server or _LAST_APPLIED in (metadata.get("annotations") or {})


def _owner_of(resource: Mapping[str, Any], field: str) -> str | None:
    """Return the field manager that set a field of the spec last."""
    entries = _entries_with(resource, field)
    return str(entries[0].get("manager")) if entries else None


def _entries_with(resource: Mapping[str, Any], field: str) -> list[Mapping[str, Any]]:
    """Return the managed-fields entries that hold a field of the spec, the newest first."""
    entries = sorted(
        _entries(resource["metadata"]), key=lambda entry: str(entry.get("time")), reverse=True
    )
    return [
        entry
        for entry in entries
        if f"f:{field}" in ((entry.get("fieldsV1") or {}).get("f:spec") or {})
    ]


def _entries(metadata: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from metadata.get("managedFields") or ()
