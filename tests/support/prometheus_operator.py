"""The CRDs of the Prometheus operator, from its Go module."""

from __future__ import annotations

from typing import Any

import yaml

from cse_simulator.control_plane import Cluster
from support import go_tools

MODULE = "github.com/prometheus-operator/prometheus-operator"
KINDS = ("ServiceMonitor", "PrometheusRule")


def definitions() -> list[dict[str, Any]]:
    """Return the CRDs of the kinds that the monitoring uses."""
    folder = go_tools.files("prometheus-operator", MODULE, "example/prometheus-operator-crd")
    names = [f"monitoring.coreos.com_{kind.lower()}s.yaml" for kind in KINDS]
    return [yaml.safe_load((folder / name).read_text(encoding="utf-8")) for name in names]


def install_prometheus_operator_crds(cluster: Cluster) -> None:
    """Install the CRDs for ServiceMonitor and PrometheusRule."""
    for definition in definitions():
        cluster.install_crd(definition)
