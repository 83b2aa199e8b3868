"""All kinds of credentials and failures: no output shows a value of a Secret."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support import processes
from support.operator_process import OperatorProcess
from support.scene import Scene

CANARY = "Canary7c0ffeeZ"
OBTAINED = "SIMULATED-"
"""The prefix of tokens that the simulator sells for passwords."""

KINDS = {
    "token": {"token": f"{CANARY}-token"},
    "key": {"accessKey": f"{CANARY}AK", "secretKey": f"{CANARY}SK"},
    "temporary": {
        "accessKey": f"{CANARY}AK2",
        "secretKey": f"{CANARY}SK2",
        "securityToken": f"{CANARY}ST",
    },
    "password": {
        "username": f"{CANARY}user",
        "password": f"{CANARY} password",
        "domainName": f"{CANARY}domain",
    },
}
ACCEPTED = (
    f"--token={CANARY}-token",
    f"--access-key={CANARY}AK:{CANARY}SK",
    f"--access-key={CANARY}AK2:{CANARY}SK2:{CANARY}ST",
    f"--user={CANARY}user:{CANARY} password:{CANARY}domain",
)
UNUSABLE: dict[str, dict[str, bytes]] = {
    "mixed": {"token": f"{CANARY}-t".encode(), "accessKey": f"{CANARY}AK3".encode()},
    "lacking": {"username": f"{CANARY}user".encode(), "password": CANARY.encode()},
    "unprintable": {"token": f"{CANARY}\x07".encode()},
    "accented": {"secretKey": f"{CANARY}é".encode(), "accessKey": CANARY.encode()},
    "boundless": {"token": CANARY.encode() * 3000},
    "no-text": {"token": CANARY.encode() + b"\xff\xfe"},
    "kubernetes": {"token": CANARY.encode()},
}
OF_TYPE = {"kubernetes": "bootstrap.kubernetes.io/token"}


def told(values: dict[str, str]) -> str:
    """Return all values as a careless server may repeat them."""
    return " ".join(f"{name}: {value} {value}" for name, value in values.items())


def in_names(kind: str) -> dict[str, str]:
    """Return the values that no name of an engine or step may show; a domain's may be in one."""
    return {key: value for key, value in KINDS[kind].items() if key not in IDENTITIES}


IDENTITIES = {"username", "domainName"}
Failure = Callable[[Simulation, str, str], None]


def fault(operation: str, **fields: Any) -> Failure:
    """Return a fault of one engine; the credentials replace WORDS in its answer."""
    said = {"error_code": "WORDS", "error_msg": "WORDS", "detail": "WORDS"}
    if "status" in fields:
        fields = {"body": said, **fields}

    def arm(simulation: Simulation, engine: str, words: str) -> None:
        filled = json.loads(json.dumps(fields).replace("WORDS", words))
        simulation.admin.add_fault(Fault(operation=operation, engine_id=engine, **filled))

    return arm


def failing_job(simulation: Simulation, engine: str, words: str) -> None:
    simulation.admin.plan_jobs(JobPlan(outcome="error", times=None), engine)
    fault("ShowEngineJob", replace=dict.fromkeys(STEP_TEXTS, "WORDS"), times=None)(
        simulation, engine, words
    )


STEP_TEXTS = ("tasks.*.taskName", "tasks.*.tasks.*.taskName", "tasks.*.tasks.*.output")


def gateway(code: str) -> dict[str, str]:
    return {"error_code": code, "error_msg": "WORDS", "request_id": "WORDS"}


FAILURES: dict[str, tuple[Failure, str]] = {
    "lost": (fault("Upgrade", status=500, after_effect=True), "UpToDate"),
    "reset": (fault("Upgrade", reset=True, after_effect=True), "UpToDate"),
    "hanging": (fault("Upgrade", hang=True, after_effect=True), "UpToDate"),
    "rejected": (fault("Upgrade", status=400, times=None), "UpgradeRejected"),
    "forbidden": (
        fault("Upgrade", status=403, body=gateway("APIGW.0302"), times=None),
        "PermissionDenied",
    ),
    "page": (fault("ShowEngine", status=502, body="<html>WORDS</html>", times=2), "UpToDate"),
    "down": (fault("ShowEngine", status=503, times=None), "CloudUnavailable"),
    "throttled": (
        fault("ShowEngine", status=429, body=gateway("APIGW.0308"), retry_after=1),
        "UpToDate",
    ),
    "missing": (
        fault("ShowEngine", status=401, body=gateway("SVCSTG.00501116"), times=None),
        "EngineNotFound",
    ),
    "truncated": (fault("ShowEngineJob", truncate_at=20), "UpToDate"),
    "failing": (failing_job, "UpgradeFailed"),
    "named": (
        fault("ShowEngine", replace=dict.fromkeys(("name", "type"), "WORDS"), times=None),
        "UpToDate",
    ),
    "redirect": (
        fault("ShowEngine", status=302, headers={"Location": "/elsewhere"}, times=None),
        "CloudUnavailable",
    ),
    "oversize": (
        fault("ShowEngine", status=200, body={"description": "WORDS" + " x" * 150_000}, times=None),
        "CloudUnavailable",
    ),
}


NAMED = {"failing", "named"}
"""Failures that put their words into names of engines or steps."""
LASTING = {*NAMED, "rejected", "forbidden", "down", "missing", "redirect"}
"""Failures whose words stay in the status as long as the failure lasts."""


@pytest.fixture
def scene(control_plane: Cluster, namespace: str) -> Iterator[Scene]:
    """A namespace without an operator, and a vendor that accepts only these credentials."""
    with start_simulator(*ACCEPTED, job_seconds=0.3) as simulation:
        yield Scene(control_plane, namespace, simulation)


@pytest.fixture
def operator(scene: Scene, tmp_path) -> OperatorProcess:
    return OperatorProcess(
        scene.cluster.kubeconfig,
        tmp_path / "operator.log",
        cse_endpoint=scene.simulation.url,
        namespaces=[scene.namespace],
        flags=[
            *("--log-level=debug", "--log-format=json"),
            *("--poll-interval=0.1", "--slow-interval=0.5"),
            *("--request-timeout=2", "--read-lag=0", "--clock-tolerance=1", "--outcome-grace=8"),
        ],
    )


def shown(scene: Scene, operator: OperatorProcess) -> dict[str, str]:
    """Return all output that can be seen from outside, by its place."""
    namespace = ("-n", scene.namespace)
    return {
        "metrics": operator.get("/metrics")[1],
        "probes": "".join(operator.get(path)[1] for path in ("/healthz", "/readyz")),
        "resources": json.dumps(scene.kubectl.json("get", "mse", *namespace)),
        "events": json.dumps(scene.kubectl.json("get", "events", *namespace)),
        "log": operator.output(),
    }


def assert_without_secrets(texts: dict[str, str], scene: Scene) -> None:
    values = [value for kind in KINDS.values() for value in kind.values()]
    encoded = {base64.b64encode(value.encode()).decode().rstrip("=")[:-1] for value in values}
    for where, text in texts.items():
        for secret in (CANARY, OBTAINED, scene.cluster.token, *encoded):
            place = max(0, text.find(secret) - 300)
            assert secret not in text, f"in {where}: {text[place : place + 600]}"


@pytest.mark.timeout(300)
async def test_no_value_of_a_secret_is_in_any_log_event_status_or_metric(
    scene: Scene, operator: OperatorProcess
) -> None:
    admin = scene.admin
    admin.add_fault(
        Fault(operation="IssueToken", status=500, body={"error": told(KINDS["password"])})
    )
    # A list must not answer instead of a read that is to fail.
    admin.add_fault(Fault(operation="ListEngines", drop=["data.*.status"], times=None))
    expected = {}
    for kind, values in KINDS.items():
        scene.secret(kind, **values)
    for kind, failure in product(KINDS, FAILURES):
        arm, expected[f"{kind}-{failure}"] = FAILURES[failure]
        engine = scene.engine(f"{kind}-{failure}")
        arm(scene.simulation, engine.id, told(in_names(kind) if failure in NAMED else KINDS[kind]))
        policy = {"retryLimit": 0}
        scene.resource(engine, credentialsRef={"name": kind}, upgrade=policy)
    for name, raw in UNUSABLE.items():
        create_raw_secret(scene, name, raw)
        scene.resource(scene.engine(name), credentialsRef={"name": name})
        expected[name] = "CredentialsInvalid"

    with operator:
        for name, reason in expected.items():
            await scene.until_reason(name, reason)

        for kind, failure in product(KINDS, LASTING):
            # Otherwise words that never arrived would pass for words without secrets.
            assert "[redacted]" in json.dumps(scene.get(f"{kind}-{failure}")["status"])

        # Now no credential is good any more; the vendor's refusals quote them at length.
        admin.clear_faults()
        admin.accept_only(tokens={"another": ""})
        admin.add_fault(
            Fault(
                operation="IssueToken",
                status=401,
                body={"error": {"code": 401, "message": told(KINDS["password"])}},
                times=None,
            )
        )
        for kind in KINDS:
            name = scene.resource(scene.engine(f"{kind}-late"), credentialsRef={"name": kind})
            await scene.until_reason(name, "CredentialsRefused")
        texts = shown(scene, operator)
        assert operator.terminate() == 0
    texts["log"] = operator.output()
    texts |= {f"check {name}": check(scene, name) for name in ("password-late", "key-late")}
    texts |= {f"check {name}": check(scene, name) for name in UNUSABLE}

    assert_without_secrets(texts, scene)
    for reason in {*expected.values(), "CredentialsRefused"} - {"UpToDate"}:
        assert f'"reason": "{reason}"' in texts["events"]
    assert "unforeseen" not in texts["log"]


def create_raw_secret(scene: Scene, name: str, data: dict[str, bytes]) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    path = f"/api/v1/namespaces/{scene.namespace}/secrets"
    kind = OF_TYPE.get(name, "Opaque")
    body = {"metadata": {"name": name}, "type": kind, "data": encoded}
    scene.cluster.request("POST", path, body)


def check(scene: Scene, name: str) -> str:
    """Return what `cse-operator check` says of a resource that does not work."""
    url = scene.simulation.url
    command = [
        *(sys.executable, "-m", "cse_operator", "check", f"--resource={name}"),
        *(f"--namespaces={scene.namespace}", "--allow-insecure-endpoint"),
        *(f"--cse-endpoint={url}", f"--iam-endpoint={url}"),
    ]
    environment = processes.python_environment({"KUBECONFIG": str(scene.cluster.kubeconfig)})
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment
    )
    assert done.returncode == 1, done.stdout + done.stderr
    assert "PROBLEM" in done.stdout
    return done.stdout + done.stderr


async def shown_of_an_operator_that_reaches_nothing(
    scene: Scene, operator: OperatorProcess
) -> dict[str, str]:
    """Return the operator's output from start to stop; assert that it shows no secret."""
    scene.secret(**KINDS["key"])
    scene.resource(scene.engine())
    with operator:
        await scene.until_reason("orders", "CloudUnavailable")
        texts = shown(scene, operator)
        assert operator.terminate() == 0
    texts["log"] = operator.output()
    assert_without_secrets(texts, scene)
    return texts


async def test_no_key_is_shown_when_tls_fails(scene: Scene, tmp_path) -> None:
    operator = OperatorProcess(
        scene.cluster.kubeconfig,
        tmp_path / "operator.log",
        cse_endpoint=scene.simulation.url.replace("http:", "https:"),
        namespaces=[scene.namespace],
        flags=["--log-level=debug", "--request-timeout=2"],
    )
    texts = await shown_of_an_operator_that_reaches_nothing(scene, operator)
    assert "ssl" in texts["resources"].lower()
    assert scene.calls() == []


async def test_no_password_of_a_proxy_is_shown_when_the_proxy_fails(scene: Scene, tmp_path) -> None:
    url = f"http://{CANARY}user:{CANARY}password@127.0.0.1:{processes.free_port()}"
    operator = OperatorProcess(
        scene.cluster.kubeconfig,
        tmp_path / "operator.log",
        cse_endpoint=scene.simulation.url,
        namespaces=[scene.namespace],
        environment={"CSE_OPERATOR_HTTPS_PROXY": url},
        flags=["--log-level=debug", "--request-timeout=2"],
    )
    await shown_of_an_operator_that_reaches_nothing(scene, operator)
    assert scene.calls() == []
