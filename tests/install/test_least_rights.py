"""The operator's requests to the API server, as the API server's audit log shows them."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cse_simulator.control_plane import LocalControlPlane, ensure_assets
from cse_simulator.vendor.simulation import Simulation
from support.installation import install_steps_before
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.repository import ROOT
from support.scene import TOKEN, Scene

ACCOUNT = "system:serviceaccount:cse-system:cse-operator"

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Request
"""


class AuditLog:
    """The audit log of one API server."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "audit.log"
        policy = folder / "audit-policy.yaml"
        policy.write_text(POLICY)
        self.flags = [f"--audit-policy-file={policy}", f"--audit-log-path={self._path}"]

    def entries(self) -> list[dict[str, Any]]:
        """Return the operator's requests about objects until now."""
        entries = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [e for e in entries if e["user"]["username"] == ACCOUNT and "objectRef" in e]

    def writes(self) -> list[dict[str, Any]]:
        """Return the requests that change something."""
        return [e for e in self.entries() if e["verb"] not in {"get", "list", "watch"}]


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> AuditLog:
    """An audit log."""
    return AuditLog(tmp_path_factory.mktemp("audit"))


@pytest.fixture
def installed(audit: AuditLog) -> Iterator[LocalControlPlane]:
    """An API server that keeps the audit log, with everything that `deploy/base` brings."""
    with LocalControlPlane(ensure_assets(), api_server_flags=audit.flags) as own:
        install_steps_before(Kubectl(own.cluster))
        Kubectl(own.cluster)("apply", "-k", str(ROOT / "deploy" / "base"))
        Kubectl(own.cluster)(
            "wait", "--for=condition=Established", "crd/microserviceengines.cse-operator.io"
        )
        yield own


async def test_an_upgrade_needs_only_the_installed_rights_and_writes_three_statuses(
    installed: LocalControlPlane, audit: AuditLog, simulator: Simulation, tmp_path: Path
) -> None:
    cluster = installed.cluster
    token = cluster.service_account_token("cse-system", "cse-operator")
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig", token)
    for namespace in ("payments", "shipping"):
        cluster.create_namespace(namespace)
    first = Scene(cluster, "payments", simulator)
    second = Scene(cluster, "shipping", simulator)
    # On a busy machine, a slow call would cause one more write.
    patient = ["--request-timeout=10", "--send-window=5", "--outcome-grace=17"]
    flags = ["--poll-interval=0.1", "--log-level=debug", *patient]
    with OperatorProcess(
        kubeconfig, tmp_path / "log", cse_endpoint=simulator.url, flags=flags
    ) as operator:
        operator.wait_until_it_may_call()
        for scene in (first, second):
            scene.secret()
            scene.resource(scene.engine())
            await scene.until_reason("orders", "UpToDate")
            await scene.event("orders", "UpToDate")
        assert operator.terminate() == 0
        output = operator.output()

    refused = [e for e in audit.entries() if e["responseStatus"]["code"] >= 400]
    assert refused == []
    _only_statuses_and_events_are_written(audit.writes())
    asked = Counter(_right(entry) for entry in audit.entries())
    assert set(asked) == {
        ("list", "microserviceengines"),
        ("watch", "microserviceengines"),
        ("get", "secrets"),
        ("patch", "microserviceengines/status"),
        ("create", "events"),
        ("list", "upgradepolicies"),
        ("watch", "upgradepolicies"),
        ("list", "clusterupgradepolicies"),
        ("watch", "clusterupgradepolicies"),
    }
    # At rest, the first resource caused no request while the second one was upgraded.
    writes = [e["objectRef"]["namespace"] for e in audit.writes()]
    assert writes == sorted(writes)
    calls = [call.project_id for call in simulator.admin.calls()]
    assert calls == sorted(calls, key=[first.project, second.project].index)
    assert TOKEN not in output
    assert TOKEN not in json.dumps(audit.writes())


def _only_statuses_and_events_are_written(writes: list[dict[str, Any]]) -> None:
    patches = [e for e in writes if e["verb"] == "patch"]
    assert len(patches) == 2 * 3
    for patch in patches:
        assert set(patch["requestObject"]) == {"metadata", "status"}
        assert set(patch["requestObject"]["metadata"]) == {"resourceVersion"}
    events = [e["requestObject"]["reason"] for e in writes if e["verb"] == "create"]
    assert events == ["Upgrading", "UpToDate"] * 2


def _right(entry: dict[str, Any]) -> tuple[str, str]:
    reference = entry["objectRef"]
    subresource = f"/{reference['subresource']}" if "subresource" in reference else ""
    return entry["verb"], reference["resource"] + subresource
