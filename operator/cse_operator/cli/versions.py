"""`cse-operator versions`: lists the versions that the vendor offers, for people and Renovate."""

from __future__ import annotations

import argparse
import json
import os
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from cse_operator.cli.flags import USAGE_ERROR
from cse_operator.cli.looking import (
    Vendor,
    add_vendor_flags,
    environment_credentials,
    named_credentials,
    run_to_end,
    say,
    settings_from,
)
from cse_operator.cli.output import write_out
from cse_operator.cloud.auth.credentials import Credentials
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.core.views import EngineView
from cse_operator.kube.connection import connect
from cse_operator.kube.errors import KubeError, NotConfigured
from cse_operator.runtime.settings import Settings

DESCRIPTION: Final = """\
Lists the engines of a project with the version that the vendor offers for each.

  cse-operator versions --region cn-north-4 --project-id 0a1b2c…
  cse-operator versions --region cn-north-4 --project-id 0a1b2c… -o renovate -f .cse/versions.json

`-o renovate` writes the file that Renovate's custom datasource reads. It keeps the engines of other
projects in that file, and the time at which a version was first seen. The access key comes from
HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK if they are set, else from the Secret that --secret and
-n name. The command changes no engine.

Exit code 0: all engines were read; 1: an error, or an engine was not read; 2: invalid flags."""

Document = dict[str, Any]


class VersionsError(Exception):
    """The versions cannot be listed or written; the text says why."""


def main(arguments: Sequence[str]) -> int:
    """List the offered versions and return the exit code."""
    flags = _parser().parse_args(arguments)
    settings = settings_from(flags)
    if settings is None:
        return USAGE_ERROR
    try:
        before = _read(flags.file) if flags.output == "renovate" else {}
        engines, failed = run_to_end(_ask(flags, settings))
        text = _shown(engines, flags.output, before)
        if flags.file is None:
            write_out(text)
        else:
            _write(flags.file, text)
    except CloudError as error:
        say(f"the engines cannot be listed: {error.failure.sentence()}")
        return 1
    except (VersionsError, KubeError, OSError) as error:
        say(str(error))
        return 1
    return 1 if failed else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cse-operator versions",
        usage="cse-operator versions --region REGION --project-id ID [flags]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--region", required=True, help="the region, such as cn-north-4")
    parser.add_argument("--project-id", required=True, metavar="ID", help="the project's id")
    parser.add_argument("--enterprise-project-id", metavar="ID", help="the enterprise project's id")
    parser.add_argument(
        "-o", "--output", choices=("text", "json", "renovate"), default="text", help="(text)"
    )
    parser.add_argument("-f", "--file", type=Path, help="write to this file if it changes")
    parser.add_argument("-n", "--namespace", default="default", help="the Secret's namespace")
    parser.add_argument(
        "--secret",
        default="huaweicloud",
        metavar="NAME",
        help="the Secret with the access key (huaweicloud)",
    )
    add_vendor_flags(parser)
    return parser


async def _ask(flags: argparse.Namespace, settings: Settings) -> tuple[list[EngineView], int]:
    credentials = await _credentials(flags)
    vendor = Vendor(settings)
    try:
        reader = vendor.reader(
            credentials,
            region=flags.region,
            project_id=flags.project_id,
            enterprise_project_id=flags.enterprise_project_id,
        )
        return await _engines(reader)
    finally:
        await vendor.close()


async def _credentials(flags: argparse.Namespace) -> Credentials:
    found = environment_credentials(os.environ)
    if found is not None:
        return found
    try:
        api_client = await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    except NotConfigured as error:
        way_out = "Without a cluster, set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK"
        raise VersionsError(f"{error.sentence.rstrip('.')}. {way_out}") from None
    try:
        return await named_credentials(api_client, flags.namespace, flags.secret)
    finally:
        await api_client.close()


async def _engines(reader: CseReader) -> tuple[list[EngineView], int]:
    """Return all engines in order of their ids, and how many could not be read; report those."""
    engines, failed = [], 0
    for engine_id, listed in sorted((await reader.list_engines_by_id()).items()):
        engine = listed
        try:
            if engine is None or engine.latest_version is None:
                engine = await reader.show_engine(engine_id)
        except CloudError as error:
            failed += 1
            say(f"engine {engine_id} cannot be read: {error.failure.sentence()}")
        else:
            engines.append(engine)
    return engines, failed


def _shown(engines: Sequence[EngineView], form: str, before: Document) -> str:
    match form:
        case "json":
            return _json([_described(engine) for engine in engines])
        case "renovate":
            return _json(renovate(engines, before, datetime.now(UTC)))
        case _:
            return _table(engines)


def renovate(engines: Sequence[EngineView], before: Document, now: datetime) -> Document:
    """Return the content of the file that Renovate's custom datasource reads.

    Earlier entries stay: an engine that is missing from the list may still exist, and the file
    holds other projects too.
    """
    known: Document = dict(before.get("engines") or {})
    for engine in engines:
        if engine.latest_version is None:
            continue
        seen = {
            release["version"]: release.get("releaseTimestamp")
            for release in (known.get(engine.engine_id) or {}).get("releases") or []
        }
        first = seen.get(engine.latest_version) or f"{now:%Y-%m-%dT%H:%M:%SZ}"
        release = {"version": engine.latest_version, "releaseTimestamp": first}
        known[engine.engine_id] = {"releases": [release]}
    return {**before, "engines": dict(sorted(known.items()))}


def _described(engine: EngineView) -> Document:
    return {
        "engineId": engine.engine_id,
        "name": engine.name,
        "type": engine.type,
        "status": engine.status,
        "version": engine.version,
        "latestVersion": engine.latest_version,
    }


def _table(engines: Sequence[EngineView]) -> str:
    rows = [("NAME", "TYPE", "VERSION", "OFFERED", "STATUS", "ENGINE")]
    rows += [
        (
            re.sub(r"\s+", " ", engine.name) or "-",
            engine.type or "-",
            engine.version,
            engine.latest_version or "-",
            engine.status,
            engine.engine_id,
        )
        for engine in engines
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "   ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in lines)


def _json(content: object) -> str:
    return json.dumps(content, indent=2) + "\n"


def _read(file: Path | None) -> Document:
    """Return the content of the file, so that no entry is lost."""
    if file is None or not file.exists():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        lists = [one["releases"] for one in found["engines"].values()]
        readable = all(isinstance(r["version"], str) for releases in lists for r in releases)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VersionsError(
            f"{file} was not written by this command, and is kept as it is: {error}"
        ) from None
    if not readable:
        raise VersionsError(f"{file} was not written by this command, and is kept as it is")
    return dict(found)


def _write(file: Path, text: str) -> None:
    if file.exists() and file.read_text(encoding="utf-8") == text:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(file)
