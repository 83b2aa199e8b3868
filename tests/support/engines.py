"""MicroserviceEngine objects, as a person would write them."""

from __future__ import annotations

from typing import Any

from cse_simulator.control_plane import Cluster
from support.wait import ENGINES

GROUP_VERSION = "cse-operator.io/v1alpha1"


def engine_manifest(name: str, *, namespace: str, **spec: Any) -> dict[str, Any]:
    """Return a manifest; the fields in `spec` replace the usual ones."""
    usual = {
        "region": "cn-north-4",
        "projectId": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "engineId": "891bf21a-4024-4f47-b38c-bd259ca8f10a",
        "version": "2.4.0",
        "credentialsRef": {"name": "huaweicloud"},
    }
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "MicroserviceEngine",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {**usual, **spec},
    }


def engine_path(namespace: str, name: str = "") -> str:
    """Return the API path of a namespace's engines, or of one engine."""
    base, _, plural = ENGINES.rpartition("/")
    return f"/{base}/namespaces/{namespace}/{plural}" + (f"/{name}" if name else "")


def create_engine(cluster: Cluster, name: str, *, namespace: str, **spec: Any) -> dict[str, Any]:
    """Create an engine resource as the administrator, and return the stored object."""
    manifest = engine_manifest(name, namespace=namespace, **spec)
    created: dict[str, Any] = cluster.request("POST", engine_path(namespace), manifest)
    return created


def patch_engine(
    cluster: Cluster, name: str, patch: dict[str, Any], *, namespace: str
) -> dict[str, Any]:
    """Merge a patch into a resource, such as `{"spec": {"version": "2.5.0"}}`."""
    patched: dict[str, Any] = cluster.request(
        "PATCH", engine_path(namespace, name), patch, content_type="application/merge-patch+json"
    )
    return patched


def create_secret(cluster: Cluster, name: str, *, namespace: str, **values: str) -> None:
    """Create a Secret with these keys and values."""
    manifest = {"metadata": {"name": name}, "stringData": values}
    cluster.request("POST", f"/api/v1/namespaces/{namespace}/secrets", manifest)
