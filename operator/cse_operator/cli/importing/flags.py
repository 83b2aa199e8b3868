"""The flags of `cse-operator import`."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cse_operator.cli.importing.selection import TYPES
from cse_operator.cli.looking import add_vendor_flags

DESCRIPTION: Final = """\
Lists the engines of a project and writes a manifest for each, with the version that the engine has:
applying the manifests starts nothing. The command changes no engine and nothing in the cluster.

  cse-operator import --region cn-north-4 --project-id 0a1b2c… -f engines --kustomization
  cse-operator import --region cn-north-4 --project-id 0a1b2c… --no-cluster > engines.yaml

The access key comes from HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK if they are set, else from the
Secret that --secret and -n name. The command leaves out each engine for which the folder or the
cluster has a resource, and names it."""

EPILOG: Final = (
    "Exit code 0: every requested manifest was written; 1: one is missing; 2: invalid flags."
)

_LABEL: Final = re.compile(
    r"([a-z0-9.-]+/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?=([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?"
)
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the flags; if they are invalid, print why and end the process."""
    parser = argparse.ArgumentParser(
        prog="cse-operator import",
        usage="cse-operator import --region REGION --project-id ID [flags]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _which(parser.add_argument_group("which engines"))
    _where_to(parser.add_argument_group("which files to write"))
    parser.add_argument(
        "--no-cluster",
        action="store_true",
        help="do not ask a cluster which engines have resources already",
    )
    add_vendor_flags(parser)
    found = parser.parse_args(arguments)
    if found.folder is None and (found.kustomization or found.overwrite):
        parser.error("--kustomization and --overwrite need a folder: -f FOLDER")
    return found


def _which(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--region", required=True, help="the region, such as cn-north-4")
    group.add_argument("--project-id", required=True, metavar="ID", help="the project's id")
    group.add_argument("--enterprise-project-id", metavar="ID", help="the enterprise project's id")
    group.add_argument(
        "--engine", action="append", default=[], metavar="ID", help="only this one (repeatable)"
    )
    group.add_argument(
        "--type",
        type=_types,
        default=TYPES,
        metavar="TYPE,…",
        help=f"only these types (all: {','.join(TYPES)})",
    )
    group.add_argument(
        "--on-error",
        choices=("continue", "stop"),
        default="continue",
        help="what to do after an engine that cannot be read or written (continue)",
    )


def _where_to(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "-f", "--folder", type=Path, help="write a file for each engine here, not standard output"
    )
    group.add_argument(
        "--path-pattern",
        default="{name}.yaml",
        metavar="PATTERN",
        help="the files' paths in the folder, from {name} {region} {project} {type} {namespace} "
        "{engine} ({name}.yaml)",
    )
    group.add_argument(
        "--kustomization", action="store_true", help="write a kustomization.yaml of the files"
    )
    group.add_argument(
        "--overwrite",
        action="store_true",
        help="replace manifests that the folder already has, with today's versions",
    )
    group.add_argument("-n", "--namespace", type=_name, help="the resources' namespace")
    group.add_argument(
        "-l",
        "--label",
        action="append",
        default=[],
        type=_label,
        metavar="KEY=VALUE",
        help="a label of all resources (repeatable)",
    )
    group.add_argument(
        "--secret",
        type=_name,
        default="huaweicloud",
        metavar="NAME",
        help="the Secret that the manifests name (huaweicloud)",
    )
    group.add_argument(
        "--suspend", action="store_true", help="write suspend: true, as a second safeguard"
    )


def _types(value: str) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(value.upper().replace(" ", "").split(",")))
    if unknown := [one for one in wanted if one not in TYPES]:
        raise argparse.ArgumentTypeError(f"there is no type {unknown[0]}: {', '.join(TYPES)}")
    return wanted


def _label(value: str) -> tuple[str, str]:
    if not _LABEL.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a label KEY=VALUE")
    key, _, content = value.partition("=")
    return key, content


def _name(value: str) -> str:
    if not _NAME.fullmatch(value):
        raise argparse.ArgumentTypeError(f"{value!r} is not a valid name of an object")
    return value
