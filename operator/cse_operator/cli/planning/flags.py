"""The flags of `cse-operator plan`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cse_operator.cli.looking import add_vendor_flags
from cse_operator.cli.planning.outputs import FORMS

DESCRIPTION: Final = """\
Shows what happens to each engine when these manifests are applied: nothing, an upgrade now, held,
refused, or why that is not known. It uses the decisions of the operator, and starts nothing: it has
no call that changes an engine.

  cse-operator plan -f engines                       against the resources in the cluster
  cse-operator plan -f engines --base origin/main    only what a merge would change
  cse-operator plan -k production                    a kustomization
  kubectl kustomize production | cse-operator plan -f - --offline

The state of an engine comes from its resource's status, or with --ask-vendor from the vendor. That
needs the access key in HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, else the Secrets that the
resources name. --offline plans without a cluster, from the manifests alone; with --base, it assumes
that engines have the versions of that revision."""

EPILOG: Final = """\
Exit code 0: the plan was made, whatever it says; 1: it could not be made; 2: invalid flags. With
--detailed-exitcode 0: nothing happens; 1: the plan could not be made; 2: something starts, is held
or is not known; 3: something would be refused."""


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the flags; if they are invalid, print why and end the process."""
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
        parser.error("--offline and --ask-vendor exclude each other: choose one")
    return found


def _what(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "-f",
        "--filename",
        dest="paths",
        action="append",
        default=[],
        metavar="PATH",
        help="a file, a folder with its subfolders, or - for standard input (repeatable)",
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
    parser.add_argument("--base", metavar="REVISION", help="show only what differs from it")
    parser.add_argument(
        "-n",
        "--namespace",
        help="the namespace of manifests that name none (default)",
    )


def _how(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--offline", action="store_true", help="use no cluster")
    parser.add_argument("--ask-vendor", action="store_true", help="look at the engines")
    parser.add_argument("-o", "--output", choices=tuple(FORMS), default="text", help="(text)")
    parser.add_argument(
        "--output-file",
        action="append",
        default=[],
        type=_file,
        metavar="FORM=PATH",
        help="also write the plan to a file, in this form (repeatable)",
    )
    parser.add_argument(
        "--detailed-exitcode", action="store_true", help="tell by the exit code what happens"
    )


def _file(value: str) -> tuple[str, Path]:
    form, _, path = value.partition("=")
    if form not in FORMS or not path:
        forms = ", ".join(FORMS)
        raise argparse.ArgumentTypeError(f"{value!r} is not FORM=PATH with a FORM of {forms}")
    return form, Path(path)
