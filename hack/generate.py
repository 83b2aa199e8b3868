"""Writes the files that are generated from code, or checks that they are up to date.

`make generate` and `make check` call it. `GENERATED` has one row per file.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable
from pathlib import Path

import argocd
import core_docs
import helm_chart
import metrics_reference
import regions_reference

import monitoring
from cse_operator.api import crd, policy_crd

ROOT = Path(__file__).resolve().parents[1]

GENERATED: dict[str, Callable[[], str]] = {
    "crds/microserviceengines.yaml": crd.render,
    "crds/upgradepolicies.yaml": policy_crd.render_policy,
    "crds/clusterupgradepolicies.yaml": policy_crd.render_cluster_policy,
    **argocd.files(),
    **core_docs.FILES,
    **helm_chart.files(),
    **monitoring.FILES,
    "docs/reference/metrics.md": metrics_reference.render,
    "docs/reference/regions.md": regions_reference.render,
}


def main() -> int:
    """Write or check all files; return 1 if --check finds one that differs, else 0."""
    parser = argparse.ArgumentParser(description=__doc__)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true", help="show what differs")
    mode.add_argument("--write", action="store_true", help="write what differs")
    arguments = parser.parse_args()
    outdated = [name for name, render in GENERATED.items() if _process(name, render, arguments)]
    if outdated and arguments.check:
        print(f"{len(outdated)} generated file(s) differ from their source: run `make generate`")
        return 1
    return 0


def _process(name: str, render: Callable[[], str], arguments: argparse.Namespace) -> bool:
    """Return whether the file differed."""
    path, wanted = ROOT / name, render()
    current = path.read_text(encoding="utf-8") if path.exists() else ""
    if current == wanted:
        return False
    if arguments.write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted, encoding="utf-8")
        print(f"wrote {name}")
    else:
        lines = difflib.unified_diff(
            current.splitlines(keepends=True),
            wanted.splitlines(keepends=True),
            f"{name} (in the repository)",
            f"{name} (generated)",
        )
        sys.stdout.writelines(lines)
    return True


if __name__ == "__main__":
    sys.exit(main())
