"""Runs etcd and kube-apiserver on free ports of 127.0.0.1, until their owner ends."""

from __future__ import annotations

import base64
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cse_simulator.control_plane import commands, keeper
from cse_simulator.control_plane.assets import Assets, ensure_assets
from cse_simulator.control_plane.cluster import ApiError, Cluster
from cse_simulator.control_plane.errors import ControlPlaneError

START_SECONDS = 120.0
START_ATTEMPTS = 4
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class _PortTakenError(Exception):
    """Another process took the port between its choice and its use."""


@dataclass
class _Ports:
    etcd: int
    api_server: int


class LocalControlPlane:
    """A private control plane as a context manager; several can run at once.

    It ends with the `with` block, or with this process however that ends: no process and no file
    is left, not even after SIGKILL. Ctrl-C in a terminal reaches only this process, which then
    leaves the block.
    """

    def __init__(self, assets: Assets | None = None, api_server_flags: Sequence[str] = ()) -> None:
        """Prepare a control plane; the `with` block starts it.

        Args:
            assets: The binaries; `ensure_assets` finds or builds them by default.
            api_server_flags: Further flags of kube-apiserver.
        """
        self._assets = assets
        self._flags = tuple(api_server_flags)
        self._lock = threading.Lock()
        self._keeper: subprocess.Popen[bytes] | None = None
        self._ports = _Ports(0, 0)
        self._directory = Path()
        self._cluster: Cluster | None = None
        self.process_ids: dict[str, int] = {}
        """The process ids by name: `etcd`, `kube-apiserver` and `keeper`."""

    @property
    def cluster(self) -> Cluster:
        """The connection to the API server, which stays the same across restarts."""
        if self._cluster is None:
            raise ControlPlaneError("the control plane is not running: enter its `with` block")
        return self._cluster

    def __enter__(self) -> Self:
        """Start both servers and wait until the API server is ready.

        Raises:
            ControlPlaneError: The binaries are missing, or a server did not start; then the
                message ends with the last lines of its log.
        """
        assets = self._assets = self._assets or ensure_assets()
        self._directory = Path(tempfile.mkdtemp(prefix="cse-control-plane-"))
        try:
            self._start_keeper()
            _write_service_account_key(self._directory / commands.SERVICE_ACCOUNT_KEY)
            token = secrets.token_urlsafe(24)
            tokens = self._directory / commands.TOKENS
            tokens.touch(mode=0o600)
            tokens.write_text(f'{token},local-admin,local-admin,"system:masters"\n')
            self._start_on_free_ports(assets, token)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End both servers and remove their folder."""
        self.close()

    def close(self) -> None:
        """End both servers and remove their folder; further calls do nothing."""
        keeper_process, self._keeper, self._cluster = self._keeper, None, None
        if keeper_process is not None:
            self.process_ids.clear()
            with keeper_process:  # closes the keeper's standard input, which ends it, and waits
                pass
            shutil.rmtree(self._directory, ignore_errors=True)  # if the keeper was killed

    def stop_api_server(self, *, gracefully: bool = True) -> None:
        """Stop kube-apiserver; etcd keeps running.

        Args:
            gracefully: With SIGTERM, and after 5 seconds SIGKILL; else with SIGKILL at once.
        """
        number = signal.SIGTERM if gracefully else signal.SIGKILL
        self._ask({"stop": "kube-apiserver", "signal": int(number)})
        del self.process_ids["kube-apiserver"]

    def start_api_server(self) -> None:
        """Start kube-apiserver again after `stop_api_server`, on its old port, and wait for it.

        Raises:
            ControlPlaneError: The server did not get ready.
        """
        assets = self._assets
        if assets is None:
            raise ControlPlaneError("the control plane is not running: enter its `with` block")
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._start_api_server_process(assets)
            try:
                self._await_ready(self.cluster)
                break
            except _PortTakenError as error:  # a client's connection has it for a moment
                if time.monotonic() > deadline:
                    raise ControlPlaneError(str(error)) from error
                time.sleep(0.5)

    def restart_api_server(self, *, gracefully: bool = True) -> None:
        """Stop and start kube-apiserver: the watch cache is new, the data stay.

        Raises:
            ControlPlaneError: The server did not get ready again.
        """
        self.stop_api_server(gracefully=gracefully)
        self.start_api_server()

    def compact_etcd(self) -> int:
        """Compact etcd up to now, and return the revision.

        A running API server may still serve older changes from its watch cache. After
        `restart_api_server`, a watch from an older revision is answered with 410 Gone.

        Raises:
            ControlPlaneError: etcd refused.
        """
        key = base64.b64encode(b"/").decode()
        revision = int(self._etcd("/v3/kv/range", {"key": key})["header"]["revision"])
        self._etcd("/v3/kv/compaction", {"revision": revision, "physical": True})
        return revision

    def _etcd(self, path: str, body: dict[str, Any]) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._ports.etcd, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        if response.status != http.HTTPStatus.OK:
            raise ControlPlaneError(f"etcd answered {path} with {response.status}: {text}")
        return json.loads(text)

    def _start_keeper(self) -> None:
        command = [sys.executable, "-I", "-S", keeper.__file__, str(os.getpid())]
        self._keeper = subprocess.Popen(  # noqa: S603 - this very interpreter
            [*command, str(self._directory)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # so that Ctrl-C reaches only the owner
        )
        self.process_ids["keeper"] = self._keeper.pid

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            process = self._keeper
            if process is None or process.stdin is None or process.stdout is None:
                raise ControlPlaneError("the control plane is not running: enter its `with` block")
            try:
                process.stdin.write(json.dumps(request).encode() + b"\n")
                line = process.stdout.readline()
            except BrokenPipeError:
                line = b""
        if not line:
            raise ControlPlaneError("the control plane's keeper is gone: was it killed?")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise ControlPlaneError(answer["error"])
        return answer

    def _start(self, name: str, command: Sequence[str]) -> None:
        log = str(self._directory / f"{name}.log")
        answer = self._ask({"start": name, "command": list(command), "log": log})
        self.process_ids[name] = answer["pid"]

    def _start_on_free_ports(self, assets: Assets, token: str) -> None:
        for attempt in range(1, START_ATTEMPTS + 1):
            self._ports = _Ports(*_free_ports(2))
            try:
                etcd = commands.etcd(assets.etcd, self._directory, self._ports.etcd)
                self._start("etcd", etcd)
                self._start_api_server_process(assets)
                self._cluster = self._described(assets, token)
                self._await_ready(self._cluster)
                self._cluster.write_kubeconfig(self._cluster.kubeconfig, token)
            except _PortTakenError as error:
                if attempt == START_ATTEMPTS:
                    raise ControlPlaneError(str(error)) from error
                for name in ("kube-apiserver", "etcd"):
                    self._ask({"stop": name, "signal": int(signal.SIGKILL)})
            else:
                return

    def _start_api_server_process(self, assets: Assets) -> None:
        ports = (self._ports.etcd, self._ports.api_server)
        command = commands.api_server(assets.kube_apiserver, self._directory, *ports)
        self._start("kube-apiserver", [*command, *self._flags])

    def _described(self, assets: Assets, token: str) -> Cluster:
        """Wait for the certificate that kube-apiserver makes, and return the connection."""
        certificate = self._directory / commands.CERTIFICATES / "apiserver.crt"
        deadline = time.monotonic() + START_SECONDS
        while not (certificate.is_file() and "END CERTIFICATE" in certificate.read_text()):
            self._check_running(deadline)
            time.sleep(0.05)
        return Cluster(
            url=f"https://127.0.0.1:{self._ports.api_server}",
            certificate_authority=certificate.read_text(),
            token=token,
            kubeconfig=self._directory / "kubeconfig",
            kubectl=assets.kubectl,
            directory=self._directory,
        )

    def _await_ready(self, cluster: Cluster) -> None:
        """Wait until the server is ready and has made the `default` namespace."""
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                cluster.request("GET", "/readyz")
                cluster.request("GET", "/api/v1/namespaces/default")
            except (OSError, ApiError):
                self._check_running(deadline)
                time.sleep(0.05)
            else:
                # Another server on the same port would have failed the TLS check.
                return

    def _check_running(self, deadline: float) -> None:
        for name in ("etcd", "kube-apiserver"):
            code = self._ask({"poll": name})["exit"]
            if code is None and time.monotonic() < deadline:
                continue
            log = (self._directory / f"{name}.log").read_text(errors="replace")
            ending = "\n".join(log.splitlines()[-15:])
            if code is not None and "address already in use" in ending:
                raise _PortTakenError(f"{name} found its port taken:\n{ending}")
            state = f"exited with code {code}" if code is not None else "did not get ready in time"
            raise ControlPlaneError(f"{name} {state}:\n{ending}")


def _free_ports(count: int) -> list[int]:
    """Return ports that are free now; all are held until the last is chosen, so they differ."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


def _write_service_account_key(path: Path) -> None:
    """Write a new P-256 private key, with which the API server signs service account tokens.

    The standard library cannot generate keys. But an elliptic-curve key is a random number in a
    fixed frame (RFC 5915), whose public half is optional and left out here.
    """
    number = secrets.randbelow(P256_ORDER - 1) + 1
    head, tail = bytes.fromhex("30310201010420"), bytes.fromhex("a00a06082a8648ce3d030107")
    body = base64.encodebytes(head + number.to_bytes(32) + tail).decode()
    path.touch(mode=0o600)
    path.write_text(f"-----BEGIN EC PRIVATE KEY-----\n{body}-----END EC PRIVATE KEY-----\n")
