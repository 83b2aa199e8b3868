"""Credentials of every kind, failures of every kind, and no value of a Secret anywhere outside."""

from __future__ import annotations

import json

import pytest

from cse_simulator.admin import Fault, start_simulator
from support.operator_process import OperatorProcess
from support.scene import Scene

CANARY = "Canary7c0ffeeZ"
KINDS = {
    "token": {"token": f"{CANARY}-token"},
    "key": {"accessKey": f"{CANARY}AK", "secretKey": f"{CANARY}SK", "securityToken": f"{CANARY}ST"},
    "password": {
        "username": f"{CANARY}user",
        "password": f"{CANARY}password",
        "domainName": f"{CANARY}domain",
    },
    "refused": {"accessKey": f"{CANARY}AK2", "secretKey": f"{CANARY}SK2"},
    "mixed": {"token": f"{CANARY}-t", "accessKey": f"{CANARY}AK3"},
}
TELLING = {"error_code": "APIGW.0601", "error_msg": f"X-Auth-Token: {CANARY}-token is odd"}


@pytest.mark.timeout(300)
async def test_no_value_of_a_secret_is_in_any_log_event_status_or_metric(
    control_plane, namespace, tmp_path
) -> None:
    accepted = [
        f"--token={CANARY}-token",
        f"--access-key={CANARY}AK:{CANARY}SK:{CANARY}ST",
        f"--user={CANARY}user:{CANARY}password:{CANARY}domain",
    ]
    with start_simulator(*accepted, job_seconds=0.3) as simulation:
        scene = Scene(control_plane, namespace, simulation)
        for fault in (
            Fault(operation="Upgrade", status=500, body=TELLING, after_effect=True, times=1),
            Fault(operation="ShowEngine", status=502, body="<html>oops</html>", times=2),
            Fault(operation="ShowEngineJob", truncate_at=20, times=1),
        ):
            simulation.admin.add_fault(fault)
        for kind, values in KINDS.items():
            scene.secret(kind, **values)
            scene.resource(scene.engine(kind), credentialsRef={"name": kind})
        operator = OperatorProcess(
            control_plane.kubeconfig,
            tmp_path / "operator.log",
            cse_endpoint=simulation.url,
            namespaces=[namespace],
            flags=[
                f"--iam-endpoint={simulation.url}",
                "--log-level=debug",
                "--poll-interval=0.1",
                "--request-timeout=2",
                "--unknown-outcome-grace=8",
            ],
        )
        with operator:
            for kind in ("token", "key", "password"):
                await scene.until_reason(kind, "UpToDate")
            await scene.until_reason("refused", "CredentialsRefused")
            await scene.until_reason("mixed", "CredentialsInvalid")
            metrics = operator.get("/metrics")[1]
            operator.terminate()
        shown = {
            "log": operator.output(),
            "metrics": metrics,
            "resources": json.dumps(scene.kubectl.json("get", "mse", "-n", namespace)),
            "events": json.dumps(scene.kubectl.json("get", "events", "-n", namespace)),
        }
    for where, text in shown.items():
        assert CANARY not in text, f"in {where}: {text[max(0, text.find(CANARY) - 200) :][:400]}"
    assert "CredentialsRefused" in shown["events"]
    assert '"level": "debug"' not in shown["log"]
