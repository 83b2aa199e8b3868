"""Runs `cse-operator plan`: reads manifests, cluster and vendor, and shows the forecast."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from typing import Any

from kubernetes.aio.client import ApiClient

from cse_operator.api.names import KIND
from cse_operator.cli.flags import USAGE_ERROR
from cse_operator.cli.looking import (
    Vendor,
    environment_credentials,
    run_to_end,
    say,
    secret_credentials,
    settings_from,
)
from cse_operator.cli.manifests import Manifest, ManifestError
from cse_operator.cli.output import write_out
from cse_operator.cli.planning.flags import parse
from cse_operator.cli.planning.forecast import Forecaster
from cse_operator.cli.planning.merge import Manifests, Merge, verdicts
from cse_operator.cli.planning.outputs import FORMS, summary
from cse_operator.cli.planning.policies import Stored, Written, policies_of, stored_policies
from cse_operator.cli.planning.sources import Sources
from cse_operator.cli.planning.verdict import FAILED, Kind, Verdict, exit_code
from cse_operator.cli.planning.world import World
from cse_operator.cloud.auth.credentials import Credentials
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.core.policies import PolicySet
from cse_operator.kube.connection import connect
from cse_operator.kube.errors import Denied, KubeError, NotConfigured
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.runtime.cache import Cache, Resource
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.project_resolver import project_options
from cse_operator.runtime.settings import Settings


class PlanError(Exception):
    """The plan cannot be made; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Show what these manifests would start, and return the exit code."""
    flags = parse(arguments)
    settings = settings_from(flags)
    if settings is None:
        return USAGE_ERROR
    try:
        read, before = _read(flags)
        namespace = flags.namespace or "default"
        head, doubles = _by_key(read, namespace)
        merge = Merge(head, _by_key(before, namespace)[0], compared=flags.base is not None)
        written, was = Written.of(read, namespace), Written.of(before, namespace)
        found = run_to_end(_plan(flags, settings, merge, written, was))
        found += [*doubles, *written.refused_beside(was)]
        _show(flags, found)
    except CloudError as error:
        say(error.failure.sentence())
        return FAILED
    except (PlanError, ManifestError, KubeError, OSError) as error:
        say(str(error))
        return FAILED
    return exit_code(found) if flags.detailed_exitcode else 0


def _read(flags: argparse.Namespace) -> tuple[list[Manifest], list[Manifest]]:
    """Return the manifests, and those of the base revision."""
    sources = Sources(tuple(flags.paths), tuple(flags.kustomizations), flags.namespace)
    read = sources.read()
    before = sources.read_at(flags.base) if flags.base else []
    if not read and not before:
        raise PlanError(f"no {KIND} or policy found in {sources}: check the path and the kind")
    return read, before


def _by_key(manifests: Sequence[Manifest], namespace: str) -> tuple[Manifests, list[Verdict]]:
    """Return the engines' manifests by their keys, and a verdict for each duplicate."""
    found: Manifests = {}
    doubles = []
    for manifest in (one for one in manifests if one.kind == KIND):
        place = str(manifest.metadata.get("namespace") or namespace)
        key = f"{place}/{manifest.name}"
        if key in found:
            sentence = f"{found[key].origin} has a manifest of the same resource"
            verdict = Verdict(
                place, manifest.name, "", Kind.REFUSED, "NamedTwice", sentence,
                origin=manifest.origin, line=manifest.line,
            )  # fmt: skip
            doubles.append(verdict)
        found.setdefault(key, manifest)
    return found, doubles


async def _plan(
    flags: argparse.Namespace, settings: Settings, merge: Merge, head: Written, base: Written
) -> list[Verdict]:
    api_client = None if flags.offline else await _cluster()
    vendor = Vendor(settings)
    try:
        there: list[dict[str, Any]] = []
        stored = Stored()
        if api_client is not None:
            there = await _resources(api_client, settings, _places(merge, head, base))
            stored = await stored_policies(api_client, settings)
        policies = policies_of(stored, settings, head, base)
        before, after = (_world(settings, there, one) for one in (policies.before, policies.after))
        Merge(merge.base, {}, compared=False).apply(before)
        refused = merge.apply(after)
        asks = _Asks(vendor, api_client, environment_credentials(os.environ))
        reader_of = asks.reader_of if flags.ask_vendor else None
        own_secrets = asks.from_environment is None
        without, with_it = (
            Forecaster(world, settings, reader_of, own_secrets=own_secrets)
            for world in (before, after)
        )
        return await verdicts(merge, without, with_it, refused, policies.changed)
    finally:
        await vendor.close()
        if api_client is not None:
            await api_client.close()


def _world(settings: Settings, there: Sequence[dict[str, Any]], policies: PolicySet) -> World:
    ownership = Ownership(grace=settings.outcome_grace)
    endpoints = project_options(settings).endpoints
    world = World(Cache(ownership, endpoints.identity_of), ownership, policies=policies)
    world.take_in(there)
    return world


def _places(merge: Merge, head: Written, base: Written) -> list[str]:
    """Return the namespaces of the manifests, and of those in the base revision."""
    places = {key.partition("/")[0] for key in merge.head.keys() | merge.base.keys()}
    return sorted(places | {namespace for _, namespace, _ in head.named | base.named if namespace})


async def _cluster() -> ApiClient:
    try:
        return await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    except NotConfigured as error:
        sentence = f"{error.sentence.rstrip('.')}. Without a cluster, say --offline"
        raise PlanError(sentence) from None


async def _resources(
    api_client: ApiClient, settings: Settings, places: Sequence[str]
) -> list[dict[str, Any]]:
    """Return the cluster's resources; without that right, those in the manifests' namespaces."""
    reader = ResourceReader(api_client)
    try:
        return [item async for page in reader.list_pages(settings.namespaces) for item in page]
    except Denied:
        if not places or settings.namespaces:
            raise
        seen = ", ".join(places)
        say(f"only {seen} may be read: owners and effects of policies elsewhere are unknown")
        return [item async for page in reader.list_pages(places) for item in page]


class _Asks:
    """Makes the reader of each resource's project, with the right credentials."""

    def __init__(
        self, vendor: Vendor, api_client: ApiClient | None, from_environment: Credentials | None
    ) -> None:
        self.from_environment = from_environment
        self._vendor = vendor
        self._api_client = api_client

    async def reader_of(self, resource: Resource) -> CseReader | None:
        """Return the reader of a resource's project; None if only the operator can make one."""
        credentials, spec = self.from_environment, resource.spec
        if credentials is None:
            if self._api_client is None:
                raise AssertionError("--offline and --ask-vendor exclude each other")
            namespace = resource.reference.namespace
            name = spec.credentials_ref.name if spec.credentials_ref is not None else None
            if name is None:
                say(
                    f"{resource.reference}: names no Secret, so its engine is not looked at;"
                    " set an access key in the environment to look at it"
                )
                return None
            credentials = await secret_credentials(self._api_client, namespace, name)
        return self._vendor.reader(
            credentials,
            region=spec.region,
            project_id=spec.project_id,
            enterprise_project_id=spec.enterprise_project_id,
        )


def _show(flags: argparse.Namespace, found: Sequence[Verdict]) -> None:
    for form, path in flags.output_file:
        path.write_text(FORMS[form](found), encoding="utf-8")
    text = FORMS[flags.output](found)
    write_out(text)
    if not text:
        say(summary(found))
