"""`cse-operator crd`: the CustomResourceDefinitions on standard output."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cse_operator.api import crd, policy_crd
from cse_operator.cli.output import write_out


def main(arguments: Sequence[str]) -> int:
    """Print the definitions and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="cse-operator crd",
        description="Prints the CustomResourceDefinitions of MicroserviceEngine, UpgradePolicy and "
        "ClusterUpgradePolicy that this version of the operator needs: cse-operator crd | "
        "kubectl apply -f -",
    )
    parser.parse_args(arguments)
    parts = (crd.render(), policy_crd.render_policy(), policy_crd.render_cluster_policy())
    write_out("---\n".join(parts))
    return 0
