"""`cse-operator crd`: the CustomResourceDefinition on standard output."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from cse_operator.api.crd import render


def main(arguments: Sequence[str]) -> int:
    """Print it; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="cse-operator crd",
        description="Prints the CustomResourceDefinition of MicroserviceEngine, as it belongs to "
        "this version of the operator: cse-operator crd | kubectl apply -f -",
    )
    parser.parse_args(arguments)
    sys.stdout.write(render())
    return 0
