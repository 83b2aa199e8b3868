"""The policies of a plan: those in the cluster, replaced by those among the manifests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import CLUSTER_POLICY_KIND, KIND
from cse_operator.api.reasons import Reason
from cse_operator.cli.manifests import Manifest
from cse_operator.cli.planning.policy_checks import as_sent, refusal_of_policy
from cse_operator.cli.planning.verdict import Kind, Verdict
from cse_operator.core.policies import PolicySet, read_policy
from cse_operator.kube.errors import KubeError
from cse_operator.kube.policy_reader import PolicyReader
from cse_operator.runtime.settings import Settings

Object = dict[str, Any]
Name = tuple[str, str, str]
"""Kind, namespace and name."""


@dataclass(slots=True)
class Written:
    """The policies among the manifests of one revision."""

    named: set[Name] = field(default_factory=set)
    """The names of all policies."""
    taken: dict[Name, Object] = field(default_factory=dict)
    """The policies that the API server accepts, as it would store them."""
    refused: list[Verdict] = field(default_factory=list)
    """Verdicts on refused policies, and on those that the operator cannot evaluate."""

    @classmethod
    def of(cls, manifests: Iterable[Manifest], namespace: str) -> Written:
        """Take the policies out of manifests.

        Args:
            manifests: The manifests, engines among them.
            namespace: The namespace of policies that name none.
        """
        found = cls()
        for manifest in (one for one in manifests if one.kind != KIND):
            place = str(manifest.metadata.get("namespace") or namespace)
            place = "" if manifest.kind == CLUSTER_POLICY_KIND else place
            name = (manifest.kind, place, manifest.name)
            why = refusal_of_policy(manifest)
            if name in found.named:
                found._refuse(manifest, name, "NamedTwice", "it has two manifests")
            elif why is not None:
                found._refuse(manifest, name, "Invalid", why)
            else:
                found._take(manifest, name)
            found.named.add(name)
        return found

    def refused_beside(self, before: Written) -> list[Verdict]:
        """Return the verdicts that the base revision does not have already."""
        known = {(one.key, one.sentence) for one in before.refused}
        return [one for one in self.refused if (one.key, one.sentence) not in known]

    def _take(self, manifest: Manifest, name: Name) -> None:
        self.taken[name] = obj = _object(manifest, name)
        invalid = read_policy(obj).invalid
        if invalid is not None:
            told = f"it holds all that it selects, because it cannot be evaluated: {invalid}"
            self._refuse(manifest, name, Reason.POLICY_INVALID, told)

    def _refuse(self, manifest: Manifest, name: Name, reason: str, why: str) -> None:
        kind, namespace, called = name
        verdict = Verdict(namespace, called, "", Kind.REFUSED, reason, why, policy=kind)
        self.refused.append(replace(verdict, origin=manifest.origin, line=manifest.line))


@dataclass(frozen=True, slots=True)
class Policies:
    """The policies without the manifests and with them."""

    before: PolicySet
    after: PolicySet
    changed: frozenset[Name]
    """The policies that differ between the two."""


@dataclass(frozen=True, slots=True)
class Stored:
    """The policies that are in the cluster."""

    objects: Sequence[Object] = ()
    namespaces: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """The labels of each namespace."""
    unknown: str | None = None
    """Why the policies are not known, so that everything is held; None if they are."""


async def stored_policies(api_client: ApiClient, settings: Settings) -> Stored:
    """Return the policies in the cluster that the operator would list."""
    reader = PolicyReader(api_client)
    try:
        if settings.namespaces:
            places = dict.fromkeys(settings.namespaces)
            return Stored([one for place in places for one in await reader.policies(place)])
        found = [*await reader.policies(None), *await reader.cluster_policies()]
        return Stored(found, await reader.namespace_labels())
    except KubeError as error:
        return Stored(unknown=error.sentence)


def policies_of(stored: Stored, settings: Settings, head: Written, base: Written) -> Policies:
    """Return the policies before and after the manifests are applied.

    Args:
        stored: The policies in the cluster.
        settings: The operator's settings.
        head: The policies among the manifests.
        base: The policies in the base revision; those that `head` lacks are deleted.
    """
    there = {_name(one): one for one in stored.objects} | base.taken
    before = _obeyed(there, settings)
    kept = {name: obj for name, obj in there.items() if name not in base.named - head.named}
    after = _obeyed(kept | head.taken, settings)

    def read(objects: Mapping[Name, Object]) -> PolicySet:
        policies = tuple(map(read_policy, objects.values()))
        known = (stored.namespaces, stored.unknown)
        return PolicySet(policies, *known, required=settings.require_policy)

    names = before.keys() | after.keys()
    changed = frozenset(name for name in names if _spec(before, name) != _spec(after, name))
    return Policies(read(before), read(after), changed)


def _obeyed(objects: Mapping[Name, Object], settings: Settings) -> dict[Name, Object]:
    """Drop cluster policies if the operator serves only some namespaces: it ignores them."""
    return {
        name: obj
        for name, obj in objects.items()
        if not (settings.namespaces and name[0] == CLUSTER_POLICY_KIND)
    }


def _spec(objects: Mapping[Name, Object], name: Name) -> Any:
    return objects[name].get("spec") if name in objects else None


def _name(obj: Object) -> Name:
    metadata = obj["metadata"]
    return str(obj.get("kind")), metadata.get("namespace", ""), metadata["name"]


def _object(manifest: Manifest, name: Name) -> Object:
    """Return a policy as the API server would store it."""
    kind, namespace, called = name
    metadata = {
        "namespace": namespace,
        "name": called,
        "uid": f"the new {kind} {namespace}/{called}",
    }
    return {"kind": kind, "metadata": metadata, "spec": json.loads(as_sent(manifest))}
