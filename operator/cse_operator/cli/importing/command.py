"""Runs `cse-operator import`: reads vendor and cluster, writes manifests, reports missing ones."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from kubernetes.aio.client import ApiClient

from cse_operator.cli.flags import USAGE_ERROR
from cse_operator.cli.importing.flags import parse
from cse_operator.cli.importing.folder import EngineName, Folder, FolderError, engine_of
from cse_operator.cli.importing.selection import Target, manifest_of, name_of, reason_to_leave_out
from cse_operator.cli.looking import (
    Vendor,
    environment_credentials,
    named_credentials,
    run_to_end,
    say,
    settings_from,
)
from cse_operator.cli.manifests import ManifestError
from cse_operator.cli.output import write_out
from cse_operator.cloud.auth.credentials import Credentials
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.core.views import EngineView
from cse_operator.kube.connection import connect
from cse_operator.kube.errors import KubeError, NotConfigured
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.runtime.settings import Settings

INCOMPLETE: Final = 1


class StopError(Exception):
    """The import ends here; the text says why."""


@dataclass(slots=True)
class Import:
    """One run of the command: its flags, and what it has done so far."""

    flags: argparse.Namespace
    target: Target
    folder: Folder
    in_cluster: dict[EngineName, tuple[str, str]] = field(default_factory=dict)
    """The engines that the cluster has, each with its resource's namespace and name."""
    written: list[Path] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    skipped: int = 0
    missing: int = 0

    def miss(self, sentence: str) -> None:
        """Report something that was asked for and is not in the result.

        Raises:
            StopError: `--on-error stop` was given.
        """
        self.missing += 1
        if self.flags.on_error == "stop":
            raise StopError(sentence)
        say(sentence)

    def skip(self, engine: EngineView, why: str) -> None:
        """Leave an engine out on purpose; if `--engine` names it, report it as missing."""
        sentence = f"left out {engine.name or '(no name)'} ({engine.engine_id}): {why}"
        if engine.engine_id in self.flags.engine and "already" not in why:
            self.miss(sentence)
            return
        self.skipped += 1
        say(sentence)

    def name(self, engine_id: str) -> EngineName:
        """Return the engine's name as manifests have it: region, project and id."""
        return (self.target.region, self.target.project_id, engine_id)


def main(arguments: Sequence[str]) -> int:
    """Import the engines of a project and return the exit code."""
    flags = parse(arguments)
    settings = settings_from(flags)
    if settings is None:
        return USAGE_ERROR
    target = Target(
        region=flags.region,
        project_id=flags.project_id,
        credentials=flags.secret,
        enterprise_project_id=flags.enterprise_project_id,
        namespace=flags.namespace,
        labels=tuple(sorted(flags.label)),
        suspend=flags.suspend,
    )
    try:
        work = Import(flags, target, Folder.at(flags.folder) if flags.folder else Folder(Path()))
        run_to_end(_import(work, settings))
    except CloudError as error:
        say(f"the engines cannot be listed: {error.failure.sentence()}")
        return INCOMPLETE
    except (StopError, ManifestError, FolderError, KubeError, OSError) as error:
        say(str(error))
        return INCOMPLETE
    write_out("---\n".join(work.texts))
    where = f" to {flags.folder}" if flags.folder else ""
    say(
        f"wrote {len(work.written or work.texts)}{where}, left out {work.skipped}, "
        f"missing {work.missing}"
    )
    return INCOMPLETE if work.missing else 0


async def _import(work: Import, settings: Settings) -> None:
    api_client = await _cluster(work.flags)
    try:
        if api_client is not None:
            work.in_cluster = await _engines_in(api_client)
        credentials = await _credentials(work, api_client)
        vendor = Vendor(settings)
        try:
            reader = vendor.reader(
                credentials,
                region=work.target.region,
                project_id=work.target.project_id,
                enterprise_project_id=work.target.enterprise_project_id,
            )
            engines = await _engines(work, reader)
        finally:
            await vendor.close()
    finally:
        if api_client is not None:
            await api_client.close()
    _write_all(work, engines)


async def _cluster(flags: argparse.Namespace) -> ApiClient | None:
    if flags.no_cluster:
        return None
    try:
        return await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    except NotConfigured as error:
        sentence = f"{error.sentence.rstrip('.')}. Without a cluster, say --no-cluster"
        raise StopError(sentence) from None


async def _engines_in(api_client: ApiClient) -> dict[EngineName, tuple[str, str]]:
    found: dict[EngineName, tuple[str, str]] = {}
    async for page in ResourceReader(api_client).list_pages(()):
        for item in page:
            metadata: dict[str, Any] = item["metadata"]
            found[engine_of(item["spec"])] = (metadata["namespace"], metadata["name"])
    return found


async def _credentials(work: Import, api_client: ApiClient | None) -> Credentials:
    found = environment_credentials(os.environ)
    if found is not None:
        return found
    if api_client is None:
        raise StopError("set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or leave out --no-cluster")
    namespace = work.target.namespace or "default"
    return await named_credentials(api_client, namespace, work.target.credentials)


async def _engines(work: Import, reader: CseReader) -> list[EngineView]:
    """Return the requested engines in order of their ids; report those that cannot be read."""
    listed: dict[str, EngineView | None] = dict.fromkeys(work.flags.engine)
    if not listed:
        listed = await reader.list_engines_by_id()
    engines = []
    for engine_id, engine in sorted(listed.items()):
        try:
            engines.append(engine or await reader.show_engine(engine_id))
        except CloudError as error:
            work.miss(f"engine {engine_id} cannot be read: {error.failure.sentence()}")
    return engines


def _write_all(work: Import, engines: list[EngineView]) -> None:
    taken = work.folder.names(work.target.namespace) | {
        name for namespace, name in work.in_cluster.values() if namespace == work.target.namespace
    }
    for engine in engines:
        name = work.name(engine.engine_id)
        before, elsewhere = work.folder.known.get(name), work.in_cluster.get(name)
        if before is not None and not work.flags.overwrite:
            work.skip(engine, f"{before.origin} has it already")
        elif before is None and elsewhere is not None:
            work.skip(engine, f"the cluster has it already, as {'/'.join(elsewhere)}")
        elif why := reason_to_leave_out(engine, work.flags.type):
            work.skip(engine, why)
        else:
            own = before.name if before is not None else ""
            chosen = own or name_of(engine, taken)
            taken.add(chosen)
            _write(work, engine, chosen)
    if work.flags.kustomization:
        files = [Path(known.origin) for known in work.folder.known.values()]
        try:
            work.folder.write_kustomization([*files, *work.written])
        except FolderError as error:
            work.miss(str(error))


def _write(work: Import, engine: EngineView, name: str) -> None:
    target = work.target
    before = work.folder.known.get(work.name(engine.engine_id))
    try:
        text = manifest_of(engine, name, target)
        if work.flags.folder is None:
            work.texts.append(text)
            return
        place = (
            Path(before.origin)
            if before is not None
            else work.folder.place(
                work.flags.path_pattern,
                {
                    "name": name,
                    "region": target.region,
                    "project": target.project_id,
                    "type": engine.type.lower(),
                    "namespace": target.namespace or "default",
                    "engine": engine.engine_id,
                },
            )
        )
        alone = before is not None and before.origin in work.folder.alone
        work.folder.write(place, text, over=alone)
        work.written.append(place)
    except (FolderError, ValueError) as error:
        work.miss(f"engine {engine.name} ({engine.engine_id}) is not written: {error}")
