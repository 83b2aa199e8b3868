"""The flags of `cse-operator plan`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cse_operator.cli.looking import add_vendor_flags
from cse_operator.cli.planning.outputs import FORMS

DESCRIPTION: Final = """\
Says what happens to each engine when these manifests are applied: nothing, an upgrade now, held,
refused, or why that is not known. It asks the same decisions as the operator, and starts nothing:
it has no call that could.

  cse-operator plan -f engines                       beside what the cluster says
  cse-operator plan -f engines --base origin/main    only what a merge would change
  kubectl kustomize production | cse-operator plan -f - --offline

What the vendor says is taken from the resources' statuses, or with --ask-vendor from the vendor:
with the access key in HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or else with the Secrets that the
resources name. Without a cluster, --offline checks what manifests tell by themselves; with --base,
engines are then taken to be at the versions of that revision."""

EPILOG: Final = """\
Exit code 0: the question is answered, whatever the answer; 1: it could not be; 2: the flags are no
good. With --detailed-exitcode 0: nothing happens; 1: it could not be answered; 2: something starts,
is held or is not known; 3: something would be refused."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the flags; ends the process with a sentence where they are no good."""
    parser = argparse.ArgumentParser(
        prog="cse-operator plan",
        usage="cse-operator plan (-f PATH | -k FOLDER)… [flags]",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _what(parser)
    _how(parser)
    add_vendor_flags(parser)
    found = parser.parse_args(arguments)
    if not found.paths and not found.kustomizations:
        parser.error("name manifests: -f PATH (- is standard input) or -k FOLDER")
    if found.offline and found.ask_vendor:
        parser.error("--offline asks nobody, and --ask-vendor asks the vendor: choose one")
    return found


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--filename",
        dest="paths",
        action="append",
        default=[],
        metavar="PATH",
        help="a file, a folder with all below it, or - for standard input (repeatable)",
    )
    parser.add_argument(
        "-k",
        "--kustomize",
        dest="kustomizations",
        action="append",
        default=[],
        metavar="FOLDER",
        help="a kustomization, built by kubectl or kustomize (repeatable)",
    )
    parser.add_argument("--base", metavar="REVISION", help="show only what differs from there")
    parser.add_argument(
        "-n",
        "--namespace",
        default="default",
        help="of manifests that name none (default)",
    )


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="ask no cluster")
    parser.add_argument("--ask-vendor", action="store_true", help="look at the engines themselves")
    parser.add_argument("-o", "--output", choices=tuple(FORMS), default="text", help="(text)")
    parser.add_argument(
        "--output-file",
        action="append",
        default=[],
        type=_file,
        metavar="FORM=PATH",
        help="write the plan in another form to a file, too (repeatable)",
    )
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="say by the exit code what happens"
    )


def _file(value: str) -> tuple[str, Path]:
    form, _, path = value.partition("=")
    if form not in FORMS or not path:
        raise argparse.ArgumentTypeError(f"{value!r} is not FORM=PATH, FORM of {', '.join(FORMS)}")
    return form, Path(path)
