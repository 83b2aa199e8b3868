"""`cse-operator crd`: the CustomResourceDefinitions on standard output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cse_operator.api import crd, policy_crd


def main(arguments: Sequence[str]) -> int:
    """Print them; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="cse-operator crd",
        description="Prints the CustomResourceDefinitions of MicroserviceEngine, UpgradePolicy and "
        "ClusterUpgradePolicy, as they belong to this version of the operator: cse-operator crd | "
        "kubectl apply -f -",
    )
    parser.parse_args(arguments)
    parts = (crd.render(), policy_crd.render_policy(), policy_crd.render_cluster_policy())
    sys.stdout.write("---\n".join(parts))
    return 0
