"""One control plane for a whole pytest session, shared by the xdist workers.

The main process (the xdist controller, or pytest itself without xdist) owns it, and starts it if a
selected test needs it. Workers ask for it over a socket. It outlives each worker and ends with the
session.
"""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import (
    Client,
    Connection,
    Listener,
    answer_challenge,
    deliver_challenge,
)
from typing import Any

import yaml

from cse_simulator.control_plane import (
    Cluster,
    ControlPlaneError,
    LocalControlPlane,
    ensure_assets,
)
from support.repository import CRDS


class SharedControlPlane:
    """The owner's side: starts on first use, answers the workers, ends with `close`."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._lock = threading.Lock()
        self._control_plane: LocalControlPlane | None = None
        self._failure: ControlPlaneError | None = None
        self._listener: Listener | None = None

    def cluster(self) -> Cluster:
        """Return the connection; on first use, start the control plane and install our CRDs.

        Raises:
            ControlPlaneError: It cannot be started; later calls raise the same error at once.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            if self._control_plane is None:
                try:
                    self._control_plane = self._started()
                except ControlPlaneError as error:
                    self._failure = error
                    raise
            return self._control_plane.cluster

    def _started(self) -> LocalControlPlane:
        with ExitStack() as undo:
            control_plane = undo.enter_context(LocalControlPlane(ensure_assets(self._report)))
            for path in sorted(CRDS.glob("*.yaml")):
                control_plane.cluster.install_crd(yaml.safe_load(path.read_text()))
            undo.pop_all()  # it keeps running until `close`
        return control_plane

    def ensure_assets(self) -> None:
        """Build the binaries if they are missing."""
        ensure_assets(self._report)

    def address(self) -> dict[str, Any]:
        """Listen for workers, and return the arguments of their `AskedControlPlane`."""
        if self._listener is None:
            self._key = secrets.token_hex(16)
            # No Unix socket: a killed session would leave its file behind.
            # All workers ask at once, and the kernel drops those beyond the backlog.
            self._listener = Listener(("127.0.0.1", 0), backlog=128)
            threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()
        return {"port": self._listener.address[1], "key": self._key}

    def close(self) -> None:
        """End the control plane and the socket."""
        if self._listener is not None:
            self._listener.close()
        with self._lock:
            if self._control_plane is not None:
                self._control_plane.close()

    def _serve(self, listener: Listener) -> None:
        while True:
            try:
                connection = listener.accept()
            except OSError:  # the listener was closed: the session is over
                return
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: Connection) -> None:
        with connection, suppress(EOFError, OSError, AuthenticationError):  # the worker has ended
            # Not in `accept`: there, a worker that ends or is silent would hold up all others.
            deliver_challenge(connection, self._key.encode())
            answer_challenge(connection, self._key.encode())
            try:
                match connection.recv():
                    case "cluster":
                        answer = {"cluster": self.cluster().to_json()}
                    case _:
                        self.ensure_assets()
                        answer = {}
            except ControlPlaneError as error:
                answer = {"error": str(error)}
            except Exception as error:  # noqa: BLE001 - the asking worker raises it
                answer = {"error": f"{type(error).__name__}: {error}"}
            connection.send(json.dumps(answer))


class AskedControlPlane:
    """A worker's side: forwards the calls to the owner."""

    def __init__(self, port: int, key: str) -> None:
        self._address = ("127.0.0.1", port)
        self._key = key.encode()

    def cluster(self) -> Cluster:
        return Cluster.from_json(self._ask("cluster")["cluster"])

    def ensure_assets(self) -> None:
        self._ask("assets")

    def _ask(self, question: str) -> dict[str, Any]:
        with Client(self._address, authkey=self._key) as connection:
            connection.send(question)
            answer: dict[str, Any] = json.loads(connection.recv())
        if "error" in answer:
            raise ControlPlaneError(answer["error"])
        return answer
