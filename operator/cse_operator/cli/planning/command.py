"""Runs `cse-operator plan`: reads, asks, forecasts, and shows."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

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
from cse_operator.cli.planning.checks import refusal
from cse_operator.cli.planning.flags import parse
from cse_operator.cli.planning.forecast import Forecaster
from cse_operator.cli.planning.outputs import FORMS, summary
from cse_operator.cli.planning.policies import Written, policies_of
from cse_operator.cli.planning.sources import Sources
from cse_operator.cli.planning.verdict import FAILED, Change, Kind, Verdict, exit_code
from cse_operator.cli.planning.world import World
from cse_operator.cloud.auth.credentials import Credentials
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.kube.errors import Denied, KubeError, NotConfigured
from cse_operator.kube.login import connect
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.runtime.access import project_options
from cse_operator.runtime.cache import Cache, Resource
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.settings import Settings

AT_ONCE: Final = 16
"""Engines that are looked at at once."""

Manifests = dict[str, Manifest]


class PlanError(Exception):
    """The question cannot be answered; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """Say what these manifests start; returns the exit code."""
    flags = parse(arguments)
    settings = settings_from(flags)
    if settings is None:
        return USAGE_ERROR
    try:
        sources = Sources(tuple(flags.paths), tuple(flags.kustomizations))
        read = sources.read()
        head, doubles = _by_key(read, flags.namespace)
        base, _ = _by_key(sources.read_at(flags.base) if flags.base else [], flags.namespace)
        policies = Written.of(read, flags.namespace)
        verdicts = run_to_end(_plan(flags, settings, head, base, policies))
        verdicts += [*doubles, *policies.refused]
        _show(flags, verdicts)
    except CloudError as error:
        say(error.failure.sentence())
        return FAILED
    except (PlanError, ManifestError, KubeError, OSError) as error:
        say(str(error))
        return FAILED
    return exit_code(verdicts) if flags.detailed_exitcode else 0


def _by_key(manifests: Sequence[Manifest], namespace: str) -> tuple[Manifests, list[Verdict]]:
    """The manifests by what they name, and a verdict for each that is named a second time."""
    found: Manifests = {}
    doubles = []
    for manifest in (one for one in manifests if one.kind == KIND):
        place = str(manifest.metadata.get("namespace") or namespace)
        key = f"{place}/{manifest.name}"
        if key in found:
            sentence = f"it is there twice, in {found[key].origin} too"
            verdict = Verdict(
                place, manifest.name, "", Kind.REFUSED, "NamedTwice", sentence,
                origin=manifest.origin, line=manifest.line,
            )  # fmt: skip
            doubles.append(verdict)
        found.setdefault(key, manifest)
    return found, doubles


async def _plan(
    flags: argparse.Namespace,
    settings: Settings,
    head: Manifests,
    base: Manifests,
    policies: Written,
) -> list[Verdict]:
    endpoints = project_options(settings).endpoints
    ownership = Ownership(grace=settings.outcome_grace)
    world = World(Cache(ownership, endpoints.identity_of), ownership)
    api_client = None if flags.offline else await _cluster()
    vendor = Vendor(settings)
    try:
        if api_client is not None:
            world.take_in(await _resources(api_client, settings, head))
        world.policies = (await policies_of(api_client, settings, policies, Written())).after
        refused = _applied(world, head, base)
        asks = _Asks(vendor, api_client, environment_credentials(os.environ))
        forecaster = Forecaster(
            world,
            settings,
            asks.reader_of if flags.ask_vendor else None,
            own_secrets=asks.from_environment is None,
        )
        return await _verdicts(forecaster, head, base, refused, compared=flags.base is not None)
    finally:
        await vendor.close()
        if api_client is not None:
            await api_client.close()


async def _cluster() -> ApiClient:
    try:
        return await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    except NotConfigured as error:
        raise PlanError(f"{error.sentence}; without a cluster, say --offline") from None


async def _resources(
    api_client: ApiClient, settings: Settings, head: Manifests
) -> list[dict[str, Any]]:
    """The cluster's resources; those of the manifests' namespaces where no more may be read."""
    reader = ResourceReader(api_client)
    try:
        return [item async for page in reader.list_pages(settings.namespaces) for item in page]
    except Denied:
        places = sorted({key.partition("/")[0] for key in head})
        if not places or settings.namespaces:
            raise
        say(f"only {', '.join(places)} may be read: an owner elsewhere is not seen")
        return [item async for page in reader.list_pages(places) for item in page]


def _applied(world: World, head: Manifests, base: Manifests) -> dict[str, str]:
    """Apply the manifests to the world; returns why some are refused, by their keys."""
    refused: dict[str, str] = {}
    for key in base.keys() - head.keys():
        world.remove(key)
    for key, manifest in head.items():
        before = base[key].spec if key in base else {}
        there = world.here.get(key)
        why = refusal(manifest, there["spec"] if there else before or None)
        if why is not None:
            refused[key] = why
        else:
            world.apply(key, manifest, before)
    return refused


async def _verdicts(
    forecaster: Forecaster,
    head: Manifests,
    base: Manifests,
    refused: Mapping[str, str],
    *,
    compared: bool,
) -> list[Verdict]:
    # Slots of policies are given in the order in which engines ask: the same in every plan.
    at_once = AT_ONCE if forecaster.world.policies.gates_nothing else 1
    slots = asyncio.Semaphore(at_once)

    async def one(key: str) -> Verdict:
        manifest = head[key]
        namespace, _, name = key.partition("/")
        if key in refused:
            engine = str(manifest.spec.get("engineId") or "")
            verdict = Verdict(namespace, name, engine, Kind.REFUSED, "Invalid", refused[key])
        else:
            assumed = base[key].spec.get("version") if key in base else None
            async with slots:
                verdict = await forecaster.verdict(key, assumed)
        change = _change(manifest, base.get(key)) if compared else None
        return replace(verdict, change=change, origin=manifest.origin, line=manifest.line)

    found = await asyncio.gather(*map(one, sorted(head)))
    removed = [_removed(key, base[key]) for key in sorted(base.keys() - head.keys())]
    return [verdict for verdict in found if verdict.change is not Change.SAME] + removed


def _change(manifest: Manifest, before: Manifest | None) -> Change:
    if before is None:
        return Change.ADDED
    return Change.SAME if before.content == manifest.content else Change.CHANGED


def _removed(key: str, before: Manifest) -> Verdict:
    namespace, _, name = key.partition("/")
    return Verdict(
        namespace,
        name,
        str(before.spec.get("engineId") or ""),
        Kind.NOTHING,
        "Deleted",
        "deleting the resource touches no engine",
        change=Change.REMOVED,
    )


class _Asks:
    """Who looks at which engine, and with which credentials."""

    def __init__(
        self, vendor: Vendor, api_client: ApiClient | None, from_environment: Credentials | None
    ) -> None:
        self.from_environment = from_environment
        self._vendor = vendor
        self._api_client = api_client

    async def reader_of(self, resource: Resource) -> CseReader:
        """The reader of a resource's project."""
        credentials, spec = self.from_environment, resource.spec
        if credentials is None:
            if self._api_client is None:
                raise AssertionError("--offline and --ask-vendor exclude each other")
            namespace = resource.reference.namespace
            name = spec.credentials_ref.name
            credentials = await secret_credentials(self._api_client, namespace, name)
        return self._vendor.reader(
            credentials,
            region=spec.region,
            project_id=spec.project_id,
            enterprise_project_id=spec.enterprise_project_id,
        )


def _show(flags: argparse.Namespace, verdicts: Sequence[Verdict]) -> None:
    for form, path in flags.output_file:
        path.write_text(FORMS[form](verdicts), encoding="utf-8")
    text = FORMS[flags.output](verdicts)
    sys.stdout.write(text)
    if not text:
        say(summary(verdicts))
