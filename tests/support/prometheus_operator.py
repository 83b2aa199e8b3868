"""The Prometheus operator's kinds, as far as an API server has to know them."""

from __future__ import annotations

from cse_simulator.control_plane import Cluster

GROUP = "monitoring.coreos.com"


def install_prometheus_operator_crds(cluster: Cluster) -> None:
    """Install CRDs for ServiceMonitor and PrometheusRule, with schemas that take anything."""
    for kind in ("ServiceMonitor", "PrometheusRule"):
        plural = f"{kind.lower()}s"
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        cluster.install_crd(
            {
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": f"{plural}.{GROUP}"},
                "spec": {
                    "group": GROUP,
                    "scope": "Namespaced",
                    "names": {
                        "kind": kind,
                        "plural": plural,
                        "singular": kind.lower(),
                        "listKind": f"{kind}List",
                    },
                    "versions": [
                        {
                            "name": "v1",
                            "served": True,
                            "storage": True,
                            "schema": {"openAPIV3Schema": anything},
                        }
                    ],
                },
            }
        )
