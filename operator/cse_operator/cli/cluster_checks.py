"""Checks of the cluster: it answers, its CRDs are installed, the operator has its rights."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.api import crd, names, policy_crd
from cse_operator.api.names import API_VERSION, GROUP, KIND, PLURAL
from cse_operator.cli.report import Finding, ok, problem
from cse_operator.kube.errors import KubeError
from cse_operator.kube.questions import ask
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.runtime.settings import Settings

_INSTALL: Final = "cse-operator crd | kubectl apply -f -"
_NOT_FOUND: Final = 404
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True)
class Right:
    """A right that the operator needs."""

    verb: str
    group: str
    resource: str
    reason: str
    namespaces: tuple[str, ...]
    """The namespaces in which the operator needs it; empty: all."""
    name: str = ""

    @property
    def subject(self) -> str:
        """The verb and the resource, such as `patch microserviceengines/status`."""
        return f"{self.verb} {self.resource}"


def needed_rights(settings: Settings) -> tuple[Right, ...]:
    """Return exactly the rights that the operator uses with these settings."""
    served = settings.namespaces
    rights = [
        Right("list", GROUP, PLURAL, "to know the resources", served),
        Right("watch", GROUP, PLURAL, "to learn of changes", served),
        Right("get", GROUP, PLURAL, "to reread a resource before a call", served),
        Right("patch", GROUP, f"{PLURAL}/status", "to write the status", served),
        Right("get", "", "secrets", "to read credentials", served),
        Right("create", "", "events", "to record Events", served),
    ]
    policies = [(names.POLICY_PLURAL, served)]
    if not served:
        policies.append((names.CLUSTER_POLICY_PLURAL, ()))
        rights.append(Right("list", "", "namespaces", "to select namespaces by labels", ()))
    for plural, where in policies:
        rights += [
            Right("list", GROUP, plural, "to know when engines may start", where),
            Right("watch", GROUP, plural, "to learn of changes", where),
            Right("patch", GROUP, f"{plural}/status", "to show the progress of a policy", where),
        ]
    if settings.leader_elect:
        group, home = "coordination.k8s.io", (settings.lease_namespace,)
        rights.append(Right("create", group, "leases", "to take part in the election", home))
        rights += [
            Right(verb, group, "leases", "to hold the election's Lease", home, settings.lease_name)
            for verb in ("get", "patch")
        ]
    if settings.metrics_tls is not None:
        for group, resource in (
            ("authentication.k8s.io", "tokenreviews"),
            ("authorization.k8s.io", "subjectaccessreviews"),
        ):
            rights.append(Right("create", group, resource, "to authorize metrics readers", ()))
    return tuple(rights)


async def check_cluster(api_client: ApiClient) -> Finding:
    """Check that the API server answers, and name the user."""
    try:
        version = await ask(api_client, "GET", "/version")
        user = await _user(api_client)
    except KubeError as error:
        way_out = "Compare `kubectl version` and `kubectl auth whoami` with the same KUBECONFIG."
        return problem("cluster", error.sentence, way_out)
    where = api_client.configuration.host
    return ok("cluster", f"Kubernetes {version.get('gitVersion')} at {where}, as {user}")


async def _user(api_client: ApiClient) -> str:
    """Return the user's name, which tells an administrator's rights from the operator's."""
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    try:
        answer = await ask(api_client, "POST", path, review)
    except KubeError as error:
        if error.status == _NOT_FOUND:  # before Kubernetes 1.28
            return "a user that it does not name"
        raise
    return str(answer["status"]["userInfo"]["username"])


async def check_definition(api_client: ApiClient) -> tuple[Finding, bool]:
    """Check that the CRDs of engines and policies are installed with this version's schemas.

    The published API schema tells, which every user may read: the operator itself has no right to
    read CustomResourceDefinitions.

    Returns:
        The finding, and False if the CRD of engines is not installed.
    """
    subject = "definition"
    try:
        document = await ask(api_client, "GET", f"/openapi/v3/apis/{API_VERSION}")
    except KubeError as error:
        if error.status == _NOT_FOUND:
            return problem(subject, f"{KIND} ({API_VERSION}) is not installed", _INSTALL), False
        way_out = "The API server has to publish its API schema."
        return problem(subject, error.sentence, way_out), True
    policies = (policy_crd.upgrade_policy(), policy_crd.cluster_upgrade_policy())
    for definition in (crd.definition(), *policies):
        sentence = _compared(definition, document)
        if sentence is not None:
            return problem(subject, sentence, _INSTALL), True
    told = f"{KIND} and its policies ({API_VERSION}) are installed, as this version needs them"
    return ok(subject, told), True


def _compared(definition: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    """Return how an installed kind differs from this version's; None if it does not."""
    kind = definition["spec"]["names"]["kind"]
    installed = _published_schema(document, kind)
    if not installed and kind != KIND:  # the caller has found KIND itself
        return f"{kind} ({API_VERSION}) is not installed"
    wanted = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    different = [
        path
        for part in ("spec", "status")
        for path in _differences(
            wanted["properties"][part], installed.get("properties", {}).get(part), part
        )
    ]
    if not different:
        return None
    more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
    return (
        f"the installed {kind} is of another version of the operator: it differs in "
        f"{', '.join(different[:_SHOWN])}{more}"
    )


def _published_schema(document: Mapping[str, Any], wanted: str) -> Mapping[str, Any]:
    schemas: Mapping[str, Mapping[str, Any]] = document.get("components", {}).get("schemas", {})
    for schema in schemas.values():
        kinds = schema.get("x-kubernetes-group-version-kind", ())
        if any(kind.get("group") == GROUP and kind.get("kind") == wanted for kind in kinds):
            return schema
    return {}


def _differences(wanted: Any, found: Any, path: str) -> Iterator[str]:
    """Yield the paths at which two schemas differ, as deep as they can be named."""
    if wanted == found:
        return
    if not isinstance(wanted, dict) or not isinstance(found, dict):
        yield path
        return
    for key in sorted(wanted.keys() | found.keys()):
        inner = path if key in {"properties", "items"} else f"{path}.{key}"
        if key in wanted and key in found:
            yield from _differences(wanted[key], found[key], inner)
        else:
            yield inner


async def check_rights(api_client: ApiClient, settings: Settings) -> list[Finding]:
    """Check each right that the operator needs, and return a finding for each.

    Raises:
        KubeError: The API server does not answer.
    """
    return list(
        await asyncio.gather(*(_check(api_client, right) for right in needed_rights(settings)))
    )


async def _check(api_client: ApiClient, right: Right) -> Finding:
    places = right.namespaces or ("",)
    allowed = await asyncio.gather(*(_may(api_client, right, place) for place in places))
    missing = [place for place, may in zip(places, allowed, strict=True) if not may]
    if not missing:
        return ok("right", f"{right.subject} {_where(right.namespaces)}, {right.reason}")
    return problem(
        "right",
        f"may not {right.subject} {_where([place for place in missing if place])}: it is needed "
        f"{right.reason}",
        "Grant it with the roles in deploy/base, or check from inside the operator's Pod: "
        "kubectl -n cse-system exec deploy/cse-operator -- cse-operator check",
    )


def _where(namespaces: list[str] | tuple[str, ...]) -> str:
    if not namespaces:
        return "in all namespaces"
    shown = ", ".join(namespaces[:_SHOWN])
    more = f" and {len(namespaces) - _SHOWN} more" if len(namespaces) > _SHOWN else ""
    return f"in {shown}{more}"


async def _may(api_client: ApiClient, right: Right, namespace: str) -> bool:
    resource, _, subresource = right.resource.partition("/")
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": resource,
        "subresource": subresource,
        "namespace": namespace,
        "name": right.name,
    }
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    answer = await ask(api_client, "POST", path, review)
    return bool(answer["status"]["allowed"])


async def regions_of_resources(
    api_client: ApiClient, settings: Settings
) -> tuple[Finding, frozenset[str]]:
    """Count the resources to serve, and return the regions that they name."""
    count = 0
    regions: set[str] = set()
    try:
        async for page in ResourceReader(api_client).list_pages(settings.namespaces):
            count += len(page)
            regions.update(str(item["spec"].get("region")) for item in page)
    except KubeError as error:
        way_out = "Grant the rights that are missing above."
        return problem("resources", error.sentence, way_out), frozenset()
    where = _where(settings.namespaces)
    return ok("resources", f"{count} of kind {KIND} {where}"), frozenset(regions)
