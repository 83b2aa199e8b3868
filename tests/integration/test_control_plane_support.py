"""Test helpers above the control plane: waiting, kubectl, the operator as a process."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys

import pytest

from cse_simulator.control_plane import ApiError
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from support import processes
from support.engines import create_engine, create_secret, engine_path, patch_engine
from support.operator_process import OperatorProcess
from support.repository import ROOT
from support.wait import EVENTS, wait_for_all, wait_for_any, wait_for_resource, wait_until_gone


@pytest.fixture
def operator(control_plane, namespace, simulator, tmp_path):
    with OperatorProcess(
        control_plane.kubeconfig,
        tmp_path / "operator.log",
        namespaces=[namespace],
        cse_endpoint=simulator.url,
        flags=["--poll-interval=0.2"],
    ) as process:
        yield process


async def test_a_wait_returns_the_object_as_soon_as_the_predicate_holds(control_plane, namespace):
    waiting = asyncio.create_task(
        wait_for_resource(
            control_plane, namespace, "orders", lambda item: item["spec"]["version"] == "2.5.0"
        )
    )
    create_engine(control_plane, "orders", namespace=namespace, version="2.4.0")
    patch_engine(control_plane, "orders", {"spec": {"version": "2.5.0"}}, namespace=namespace)

    assert (await waiting)["metadata"]["generation"] == 2


async def test_a_wait_that_is_not_fulfilled_shows_what_there_was(control_plane, namespace):
    create_engine(control_plane, "orders", namespace=namespace, version="2.4.0")

    def never(item):
        return item["status"]["no"]["such"]["field"]

    with pytest.raises(AssertionError) as failed:
        await wait_for_resource(control_plane, namespace, "orders", never, timeout=3)

    assert "waited 3 s" in str(failed.value)
    assert "version: 2.4.0" in str(failed.value)
    assert "managedFields" not in str(failed.value)


async def test_a_wait_goes_on_when_the_api_server_is_restarted(private_control_plane):
    cluster = private_control_plane.cluster
    waiting = asyncio.create_task(
        wait_for_resource(
            cluster, None, "late", lambda _: True, collection="api/v1/namespaces", timeout=120
        )
    )
    await wait_for_resource(
        cluster, None, "default", lambda _: True, collection="api/v1/namespaces"
    )
    await asyncio.to_thread(private_control_plane.restart_api_server)
    cluster.create_namespace("late")

    assert (await waiting)["metadata"]["name"] == "late"


async def test_waiting_for_all_counts_them_and_for_the_end_of_one(control_plane, namespace):
    for number in range(3):
        create_engine(control_plane, f"engine-{number}", namespace=namespace)

    def usual(item):
        return item["spec"]["region"] == "cn-north-4"

    assert len(await wait_for_all(control_plane, namespace, 3, usual)) == 3

    control_plane.request("DELETE", engine_path(namespace, "engine-0"))
    await wait_until_gone(control_plane, namespace, "engine-0")
    assert len(await wait_for_all(control_plane, namespace, 2, usual)) == 2


def test_kubectl_shows_why_it_failed(kubectl, namespace):
    with pytest.raises(AssertionError, match=r"microserviceengines.* \"absent\" not found"):
        kubectl("get", "mse", "absent", "-n", namespace)
    applied = kubectl(
        "create",
        "-f",
        "-",
        stdin=f"{{apiVersion: v1, kind: ConfigMap, metadata: "
        f"{{name: one, namespace: {namespace}}}}}",
    )
    assert "configmap/one created" in applied


def test_the_crd_refuses_what_it_should(control_plane, namespace):
    with pytest.raises(ApiError) as refused:
        create_engine(control_plane, "orders", namespace=namespace, version="2." + "4" * 24)
    assert refused.value.status == 422


async def test_the_operator_runs_an_upgrade_and_can_be_killed_and_restarted(
    control_plane, namespace, simulator, operator
):
    engine = simulator.admin.create_engine("orders", version="2.4.0", latest_version="2.5.0")
    create_secret(control_plane, "huaweicloud", namespace=namespace, token="a-token")
    operator.kill()
    operator.restart()
    create_engine(
        control_plane,
        "orders",
        namespace=namespace,
        engineId=engine.id,
        projectId=DEFAULT_PROJECT,
        version="2.5.0",
    )

    done = await wait_for_resource(
        control_plane, namespace, "orders", lambda item: item["status"]["phase"] == "UpToDate"
    )

    assert done["status"]["currentVersion"] == "2.5.0"
    assert simulator.admin.accepted_upgrades() == {(engine.id, "2.5.0"): 1}
    assert operator.get("/healthz")[0] == 200
    assert await wait_for_any(
        control_plane,
        EVENTS,
        namespace,
        lambda item: (
            item["regarding"]["name"] == "orders"
            if "regarding" in item
            else item["involvedObject"]["name"] == "orders"
        ),
    )
    assert operator.terminate() == 0
    assert operator.get("/healthz")[0] == 0


def test_a_child_process_dies_with_the_test_run(tmp_path):
    program = (
        "import os, sys, time\n"
        "from pathlib import Path\n"
        "from support import processes\n"
        "child = processes.start(['/bin/sleep', '600'], Path(sys.argv[1]), os.environ)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    environment = processes.python_environment()
    environment["PYTHONPATH"] += os.pathsep + str(ROOT / "tests")
    parent = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "log")],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with parent:
        child = int(parent.stdout.readline())
        end = os.pidfd_open(child)
        parent.send_signal(signal.SIGKILL)
    try:
        assert select.select([end], [], [], 30)[0]
    finally:
        os.close(end)


def test_an_operator_that_ends_early_is_reported_with_its_output(tmp_path):
    kubeconfig = tmp_path / "missing"
    with (
        pytest.raises(AssertionError, match="the operator exited"),
        OperatorProcess(kubeconfig, tmp_path / "operator.log"),
    ):
        pass
    assert (tmp_path / "operator.log").read_text() != ""
