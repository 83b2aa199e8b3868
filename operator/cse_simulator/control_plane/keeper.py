"""The keeper: the process that runs a control plane's servers and cleans up after its owner.

`LocalControlPlane` starts this file as a script. The keeper starts and stops the servers on
request. When its owner ends, even by SIGKILL, the keeper kills the servers and removes their
folder. It notices the owner's end in two ways: standard input ends, and on Linux a pidfd becomes
readable, because a child that the owner forked may still hold the other end of the pipe.
If the keeper itself is killed, the kernel kills the servers (PR_SET_PDEATHSIG).

Each request is one line of JSON on standard input, each answer one line on standard output:
`{"start": NAME, "command": […], "log": PATH}`, `{"stop": NAME, "signal": N}`, `{"poll": NAME}`.
The answer holds `pid`, or `exit` (null while the server runs), or `error`.
"""

from __future__ import annotations

import ctypes
import json
import os
import selectors
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
# With open watches kube-apiserver takes a minute to stop by itself, too long to wait for.
STOP_SECONDS = 5.0


def main() -> None:
    """Serve requests until the owner is gone, then kill the servers and remove their folder."""
    owner, directory = int(sys.argv[1]), Path(sys.argv[2])
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    servers: dict[str, subprocess.Popen[bytes]] = {}
    try:
        serve(owner, servers)
    finally:
        for server in servers.values():
            server.kill()
            server.wait()
        shutil.rmtree(directory, ignore_errors=True)


def serve(owner: int, servers: dict[str, subprocess.Popen[bytes]]) -> None:
    """Answer requests until standard input ends or the owner exits."""
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.buffer, selectors.EVENT_READ)
        if sys.platform == "linux":
            try:
                selector.register(os.pidfd_open(owner), selectors.EVENT_READ)
            except ProcessLookupError:
                return
        while True:
            ready = [key.fileobj for key, _ in selector.select()]
            if ready != [sys.stdin.buffer]:
                return
            line = sys.stdin.buffer.readline()
            if not line:
                return
            print(json.dumps(answer(json.loads(line), servers)), flush=True)


def answer(request: dict[str, Any], servers: dict[str, subprocess.Popen[bytes]]) -> dict[str, Any]:
    """Execute one request and return its answer."""
    match request:
        case {"start": str(name), "command": list(command), "log": str(log)}:
            try:
                with Path(log).open("ab") as output:
                    servers[name] = subprocess.Popen(  # noqa: S603 - the owner's own command
                        command,
                        stdin=subprocess.DEVNULL,
                        stdout=output,
                        stderr=subprocess.STDOUT,
                        preexec_fn=die_with_this_process,  # noqa: PLW1509 - there are no threads
                    )
            except OSError as error:
                return {"error": str(error)}
            return {"pid": servers[name].pid}
        case {"stop": str(name), "signal": int(number)}:
            server = servers.pop(name)
            server.send_signal(number)
            try:
                return {"exit": server.wait(STOP_SECONDS)}
            except subprocess.TimeoutExpired:
                server.kill()
                return {"exit": server.wait()}
        case {"poll": str(name)}:
            return {"exit": servers[name].poll()}
        case _:
            return {"error": f"unknown request {request}"}


def die_with_this_process() -> None:
    """Have the kernel kill the calling process when its parent dies (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()
