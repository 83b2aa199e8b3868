"""Metrics over TLS for the readers that Kubernetes allows, as installed, on the real API server."""

from __future__ import annotations

import http.client
import ssl
from pathlib import Path

import trustme
import yaml

from cse_simulator.control_plane import Cluster, LocalControlPlane
from cse_simulator.vendor.simulation import Simulation
from support.installation import (
    SYSTEM,
    environment_of,
    install_steps_before,
    kustomization,
    kustomized,
    operator_of,
    the,
)
from support.kubectl import Kubectl
from support.processes import free_port


def _status(port: int, authority: trustme.CA, token: str | None) -> tuple[int, str]:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    connection = http.client.HTTPSConnection("localhost", port, timeout=20, context=context)
    try:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        connection.request("GET", "/metrics", headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


def _account(cluster: Cluster, name: str) -> str:
    accounts = f"/api/v1/namespaces/{SYSTEM}/serviceaccounts"
    cluster.request("POST", accounts, {"metadata": {"name": name}})
    return cluster.service_account_token(SYSTEM, name)


def test_as_installed_only_a_bound_reader_gets_the_metrics_and_probes_need_no_token(
    private_control_plane: LocalControlPlane, simulator: Simulation, tmp_path: Path
) -> None:
    cluster = private_control_plane.cluster
    kubectl = Kubectl(cluster)
    install_steps_before(kubectl)
    objects = kustomized(kubectl, kustomization(tmp_path / "ours", "secure-metrics"))
    kubectl("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))
    deployment = the(objects, "Deployment")
    reader, stranger = _account(cluster, "prometheus"), _account(cluster, "stranger")
    bound = ("create", "clusterrolebinding", "prometheus")
    kubectl(
        *bound, "--clusterrole=cse-operator-metrics-reader", f"--serviceaccount={SYSTEM}:prometheus"
    )

    authority, secret = trustme.CA(), tmp_path / "metrics-tls"
    secret.mkdir()
    issued = authority.issue_cert("localhost")
    issued.cert_chain_pems[0].write_to_path(secret / "tls.crt")
    issued.private_key_pem.write_to_path(secret / "tls.key")
    pod = deployment["spec"]["template"]["spec"]
    [mount] = pod["containers"][0]["volumeMounts"]
    assert environment_of(deployment)["CSE_OPERATOR_METRICS_TLS"] == mount["mountPath"]

    probes = free_port()
    operator = operator_of(
        deployment,
        cluster,
        tmp_path,
        cse_endpoint=simulator.url,
        environment={
            "CSE_OPERATOR_METRICS_TLS": str(secret),
            "CSE_OPERATOR_PROBE_LISTEN": f"127.0.0.1:{probes}",
        },
    )
    guarded, operator.port = operator.port, probes
    with operator:
        assert operator.get("/healthz") == (200, "ok\n")
        assert operator.get("/metrics")[0] == 404
        assert _status(guarded, authority, None)[0] == 401
        assert _status(guarded, authority, "canary")[0] == 401
        assert _status(guarded, authority, stranger)[0] == 403
        status, page = _status(guarded, authority, reader)
        assert status == 200
        assert "cse_operator_leader 1.0" in page
        log = operator.output()
        assert operator.terminate() == 0
    assert "canary" not in log
    assert reader not in log
