"""The local control plane: a real API server that leaves nothing behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cse_simulator.control_plane import (
    ApiError,
    Cluster,
    ControlPlaneError,
    LocalControlPlane,
    ensure_assets,
    local,
)
from support import processes
from support.repository import CRDS
from support.wait import wait_for_resource, wait_until_gone

NAMESPACES = "api/v1/namespaces"


class EndOf:
    """Notices the end of processes that are no children of this one."""

    def __init__(self, process_ids: list[int]) -> None:
        self._descriptors = [os.pidfd_open(number) for number in process_ids]

    def wait(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        try:
            return all(
                select.select([item], [], [], max(0.0, deadline - time.monotonic()))[0]
                for item in self._descriptors
            )
        finally:
            for item in self._descriptors:
                os.close(item)


def run_in_another_process(tmp_path: Path) -> tuple[subprocess.Popen[str], Cluster]:
    process = subprocess.Popen(
        [sys.executable, "-m", "cse_simulator.control_plane", "run", "--json"],
        # A shell lets its background jobs ignore Ctrl-C, and these tests may be such a job.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        stdout=subprocess.PIPE,
        text=True,
        env=processes.python_environment({"TMPDIR": str(tmp_path)}),
    )
    line = process.stdout.readline()
    assert line, "it did not start"
    return process, Cluster.from_json(line)


def children_of(parent: int) -> list[int]:
    """Return the process ids of the descendants."""
    found = []
    for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        found += [int(child), *children_of(int(child))]
    return found


def test_the_api_server_answers_and_knows_its_administrator(control_plane):
    assert control_plane.request("GET", "/readyz") == "ok"
    review = control_plane.request(
        "POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {"spec": {}}
    )
    assert "system:masters" in review["status"]["userInfo"]["groups"]


def test_the_crds_are_installed(control_plane, namespace, kubectl):
    assert sorted(path.name for path in CRDS.glob("*.yaml"))
    assert kubectl.json("get", "mse", "-n", namespace)["items"] == []


def test_rights_are_those_of_rbac(control_plane, namespace, tmp_path, kubectl):
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", accounts, {"metadata": {"name": "reader"}})
    token = control_plane.service_account_token(namespace, "reader")
    secrets = f"/api/v1/namespaces/{namespace}/secrets"

    with pytest.raises(ApiError) as refused:
        control_plane.request("GET", secrets, token=token)
    assert refused.value.status == 403

    kubectl("create", "role", "reader", "-n", namespace, "--verb=list", "--resource=secrets")
    account = f"--serviceaccount={namespace}:reader"
    kubectl("create", "rolebinding", "reader", "-n", namespace, "--role=reader", account)
    deadline = time.monotonic() + 30  # the authorizer sees a binding a moment later
    while True:
        try:
            assert control_plane.request("GET", secrets, token=token)["items"] == []
            break
        except ApiError:
            assert time.monotonic() < deadline
            time.sleep(0.1)

    kubeconfig = control_plane.write_kubeconfig(tmp_path / "kubeconfig", token, namespace)
    assert kubeconfig.stat().st_mode & 0o077 == 0
    environment = processes.python_environment({"KUBECONFIG": str(kubeconfig)})
    whoami = subprocess.run(
        [str(control_plane.kubectl), "auth", "whoami"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"system:serviceaccount:{namespace}:reader" in whoami.stdout


async def test_a_namespace_is_gone_at_once_when_it_is_deleted(control_plane):
    name = f"to-be-deleted-{os.getpid()}-{time.monotonic_ns()}"
    control_plane.create_namespace(name)
    await wait_for_resource(
        control_plane,
        None,
        name,
        lambda item: item["status"]["phase"] == "Active",
        collection=NAMESPACES,
    )
    control_plane.delete_namespace(name, ["api/v1/secrets"])
    await wait_until_gone(control_plane, None, name, collection=NAMESPACES)


def test_two_run_at_once_and_are_apart(private_control_plane, control_plane):
    own = private_control_plane.cluster
    assert own.url != control_plane.url

    own.create_namespace("only-in-one")

    with pytest.raises(ApiError) as missing:
        control_plane.request("GET", "/api/v1/namespaces/only-in-one")
    assert missing.value.status == 404
    with pytest.raises(ApiError) as stranger:
        own.request("GET", "/api/v1/namespaces", token=control_plane.token)
    assert stranger.value.status == 401


def test_a_restart_keeps_the_data_and_compaction_ends_old_watches(private_control_plane):
    cluster = private_control_plane.cluster
    before = cluster.request("GET", "/api/v1/namespaces")["metadata"]["resourceVersion"]
    cluster.create_namespace("kept")
    first = private_control_plane.process_ids["kube-apiserver"]

    assert private_control_plane.compact_etcd() > int(before)
    private_control_plane.restart_api_server(gracefully=False)

    assert private_control_plane.process_ids["kube-apiserver"] != first
    assert cluster.request("GET", "/api/v1/namespaces/kept")["metadata"]["name"] == "kept"
    event = cluster.request(
        "GET", "/api/v1/namespaces", query={"watch": "true", "resourceVersion": before}
    )
    assert event["type"] == "ERROR"
    assert event["object"]["code"] == 410


def test_a_stopped_api_server_refuses_connections_until_it_is_started(private_control_plane):
    cluster = private_control_plane.cluster
    private_control_plane.stop_api_server()

    with pytest.raises(ConnectionRefusedError):
        cluster.request("GET", "/readyz")

    private_control_plane.start_api_server()
    assert cluster.request("GET", "/readyz") == "ok"


def test_nothing_is_left_when_the_block_ends():
    with LocalControlPlane() as own:
        directory = own.cluster.directory
        ends = EndOf(list(own.process_ids.values()))
        assert directory.is_dir()

    assert ends.wait(0)
    assert not directory.exists()
    with pytest.raises(ControlPlaneError, match="not running"):
        _ = own.cluster


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_the_owner_is_ended_by_a_signal(tmp_path, number):
    process, cluster = run_in_another_process(tmp_path)
    with process:
        servers = children_of(process.pid)
        assert len(servers) == 3
        ends = EndOf(servers)
        assert list(tmp_path.iterdir()) == [cluster.directory]
        process.send_signal(number)
        process.wait(30)

    assert ends.wait(30)
    assert list(tmp_path.iterdir()) == []


def test_the_servers_do_not_outlive_a_killed_keeper():
    with LocalControlPlane() as own:
        ids = dict(own.process_ids)
        ends = EndOf(list(ids.values()))
        os.kill(ids["keeper"], signal.SIGKILL)
        assert ends.wait(30)
        with pytest.raises(ControlPlaneError, match="keeper is gone"):
            own.restart_api_server()
        directory = own.cluster.directory
    assert not directory.exists()


def test_a_port_that_was_taken_meanwhile_is_replaced_by_another(monkeypatch):
    free_ports = local._free_ports
    with socket.create_server(("127.0.0.1", 0)) as taken:
        offered = [[taken.getsockname()[1], free_ports(1)[0]]]
        monkeypatch.setattr(
            local, "_free_ports", lambda count: offered.pop() if offered else free_ports(count)
        )
        with LocalControlPlane() as own:
            assert own.cluster.request("GET", "/readyz") == "ok"
    assert offered == []


def test_a_server_that_does_not_start_says_why(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    with (
        pytest.raises(ControlPlaneError, match="unknown flag: --no-such-flag"),
        LocalControlPlane(ensure_assets(), api_server_flags=["--no-such-flag"]),
    ):
        pass
    assert list(tmp_path.iterdir()) == []
