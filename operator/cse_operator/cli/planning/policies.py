"""The policies that hold a plan's engines: the cluster's, and in their place the manifests'."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import CLUSTER_POLICY_KIND
from cse_operator.cli.manifests import Manifest
from cse_operator.core.policies import PolicySet, read_policy
from cse_operator.kube.errors import KubeError
from cse_operator.kube.policy_reader import PolicyReader
from cse_operator.runtime.settings import Settings

Object = dict[str, Any]
_Name = tuple[str, str, str]


async def policies_of(
    api_client: ApiClient | None, settings: Settings, written: Sequence[Manifest], namespace: str
) -> PolicySet:
    """The policies once the manifests are applied; unknown ones hold everything.

    Args:
        api_client: The cluster; None where none is asked.
        settings: The operator's settings.
        written: The policies among the manifests.
        namespace: The namespace of manifests that name none.
    """
    there: list[Object] = []
    labels: dict[str, dict[str, str]] = {}
    unknown = None
    if api_client is not None:
        try:
            there, labels = await _listed(PolicyReader(api_client), settings.namespaces)
        except KubeError as error:
            unknown = error.sentence
    objects = {_name(one): one for one in there}
    objects |= {_name(one): one for one in (_object(m, namespace) for m in written)}
    return PolicySet(
        policies=tuple(map(read_policy, objects.values())),
        namespaces=labels,
        unknown=unknown,
        required=settings.require_policy,
    )


async def _listed(
    reader: PolicyReader, namespaces: Sequence[str]
) -> tuple[list[Object], dict[str, dict[str, str]]]:
    """What the operator would list: one that serves some namespaces heeds no cluster policies."""
    if namespaces:
        places = dict.fromkeys(namespaces)
        return [one for place in places for one in await reader.policies(place)], {}
    found = [*await reader.policies(None), *await reader.cluster_policies()]
    return found, await reader.namespace_labels()


def _name(obj: Object) -> _Name:
    metadata = obj["metadata"]
    return str(obj.get("kind")), metadata.get("namespace", ""), metadata["name"]


def _object(manifest: Manifest, namespace: str) -> Object:
    """A policy as it would be stored."""
    metadata = {"uid": f"the new {manifest.name}", **manifest.metadata, "name": manifest.name}
    if manifest.kind == CLUSTER_POLICY_KIND:
        metadata.pop("namespace", None)
    else:
        metadata.setdefault("namespace", namespace)
    return {**manifest.content, "metadata": metadata}
