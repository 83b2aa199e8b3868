"""Starting and stopping the operator when something is missing or wrong."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp import web

from cse_simulator.control_plane import Cluster
from support import processes
from support.api_server_stub import (
    Answer,
    api_server_stub,
    reply,
    silence,
    write_kubeconfig,
)
from support.operator_process import OperatorProcess


class Command:
    """`cse-operator run`, which may end by itself."""

    def __init__(self, folder: Path) -> None:
        self.kubeconfig = folder / "kubeconfig"
        self.log = folder / "log"
        self._started: list[OperatorProcess] = []

    def start(self, *flags: str) -> OperatorProcess:
        """Start the command without waiting until it is ready."""
        operator = OperatorProcess(self.kubeconfig, self.log, flags=flags)
        operator.start()
        self._started.append(operator)
        return operator

    def run(self, *flags: str) -> tuple[int, str]:
        """Run the command to its end; return its exit code and output."""
        operator = self.start(*flags)
        return operator.wait(), operator.output()

    async def said(self, words: str) -> str:
        """Run the command until its output has these words, stop it, and return the output."""
        operator = self.start()
        async with asyncio.timeout(60):
            while words not in operator.output():
                assert operator.running().poll() is None, operator.output()
                await asyncio.sleep(0.05)
        assert await asyncio.to_thread(operator.terminate) == 0
        return operator.output()

    def end(self) -> None:
        for operator in self._started:
            operator.kill()


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    command = Command(tmp_path)
    yield command
    command.end()


def test_without_a_cluster_it_says_what_to_set(command: Command) -> None:
    code, said = command.run()
    assert code == 1
    assert "cannot run: There is no cluster to talk to" in said
    assert "Set KUBECONFIG" in said
    assert "Traceback" not in said


async def test_an_api_server_that_is_away_is_waited_for_in_the_process(command: Command) -> None:
    address = f"https://127.0.0.1:{processes.free_port()}"
    write_kubeconfig(command.kubeconfig.parent, address)
    said = await command.said("listing the resources failed, retrying soon: ")
    assert "the API server cannot be reached" in said
    assert "Traceback" not in said


async def test_without_rights_it_says_which_are_missing_and_waits_for_them(
    command: Command, control_plane: Cluster, namespace: str
) -> None:
    accounts = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", accounts, {"metadata": {"name": "nobody"}})
    token = control_plane.service_account_token(namespace, "nobody")
    control_plane.write_kubeconfig(command.kubeconfig, token)
    said = await command.said("cannot list resource")
    assert "microserviceengines" in said
    assert token not in said
    assert "Traceback" not in said


async def test_without_the_resource_definition_it_says_so_and_waits_for_it(
    command: Command, tmp_path: Path
) -> None:
    async with api_server_stub(tmp_path) as (stub, _):
        stub.otherwise = reply(404, text="404 page not found\n")
        said = await command.said("is the CRD installed?")
    assert "Traceback" not in said


def test_where_its_address_is_taken_it_says_so(command: Command, control_plane: Cluster) -> None:
    control_plane.write_kubeconfig(command.kubeconfig, control_plane.token)
    port = processes.free_port()
    with socket.create_server(("127.0.0.1", port)):
        code, said = command.run(f"--listen=127.0.0.1:{port}")
    assert code == 1
    assert "address already in use" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        (["--cse-endpoint=http://cse.example.com"], "needs https"),
        (["--outcome-grace=1"], "is too short"),
        (["--https-proxy=http://user:canary/ss@proxy:3128"], "is not the URL of a proxy"),
    ],
)
def test_settings_that_would_break_a_promise_end_it_at_once(
    command: Command, control_plane: Cluster, flags: list[str], complaint: str
) -> None:
    control_plane.write_kubeconfig(command.kubeconfig, control_plane.token)
    code, said = command.run(*flags)
    assert code == 2
    assert complaint in said
    assert "Traceback" not in said
    assert "canary" not in said


@pytest.mark.parametrize("content", [None, "no certificate\n"])
def test_an_unusable_ca_bundle_ends_it_at_once(
    command: Command, control_plane: Cluster, tmp_path: Path, content: str | None
) -> None:
    control_plane.write_kubeconfig(command.kubeconfig, control_plane.token)
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    code, said = command.run(f"--ca-bundle={bundle}")
    assert code == 2
    assert f"--ca-bundle: {bundle} " in said
    assert "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_during_the_first_list_is_obeyed_at_once(
    command: Command, tmp_path: Path, number: signal.Signals
) -> None:
    asked, never = asyncio.Event(), asyncio.Event()
    async with api_server_stub(tmp_path) as (stub, _):
        stub.otherwise = _told_of_each(asked, never)
        operator = command.start()
        await asyncio.wait_for(asked.wait(), 60)
        operator.signal(number)
        code = await asyncio.to_thread(operator.wait)
        never.set()
    assert code == 0
    assert "Traceback" not in operator.output()


def _told_of_each(asked: asyncio.Event, until: asyncio.Event) -> Answer:
    wait = silence(until)

    async def answer(request: web.Request) -> web.StreamResponse:
        asked.set()
        return await wait(request)

    return answer


NO_PASSWD = """
import pwd

def _no_entry(uid):
    raise KeyError(f"getpwuid(): uid not found: {uid}")

pwd.getpwuid = _no_entry
"""


def test_a_user_without_a_name_can_run_it(
    control_plane: Cluster, namespace: str, tmp_path: Path
) -> None:
    """Clusters run containers with user numbers that /etc/passwd does not have."""
    (tmp_path / "sitecustomize.py").write_text(NO_PASSWD)
    sources = processes.python_environment()["PYTHONPATH"]
    nameless = dict.fromkeys(("LOGNAME", "USER", "LNAME", "USERNAME"), "")
    operator = OperatorProcess(
        control_plane.kubeconfig,
        tmp_path / "log",
        namespaces=[namespace],
        environment={**nameless, "PYTHONPATH": f"{tmp_path}:{sources}"},
    )
    with operator:
        assert operator.terminate() == 0
    assert "getpwuid" not in operator.output()
