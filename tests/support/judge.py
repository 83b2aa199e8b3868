"""Asks real GitOps tools what they make of an object: kstatus, CEL and Lua as they run it."""

from __future__ import annotations

import fcntl
import json
import subprocess
from pathlib import Path
from typing import Any

from cse_simulator.control_plane.assets import cache_directory
from cse_simulator.control_plane.building import find_go, recipe

MODULE = Path(__file__).resolve().parents[1] / "gitops"


class Judge:
    """The program in `tests/gitops`, built once per machine and kept running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(_built())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def kstatus(self, manifest: dict[str, Any]) -> str:
        """What Flux's library makes of a live object: Current, InProgress, Failed, …"""
        return str(self._ask({"object": manifest})["status"])

    def flux(self, expressions: dict[str, str], manifest: dict[str, Any]) -> str:
        """What Flux makes of a live object by one entry of `healthCheckExprs`."""
        return str(self._ask({"object": manifest, "exprs": expressions})["status"])

    def lua(self, script: str, manifest: dict[str, Any]) -> Any:
        """What a script returns for a live object."""
        return self._ask({"object": manifest, "lua": script})["result"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer


def _built() -> Path:
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    wanted = recipe()
    assert wanted is not None
    binary = cache / "gitops-judge"
    # Go's own cache makes all but the first of these builds quick; the lock keeps the workers
    # of one run from running a binary that another is just writing.
    with (cache / "gitops-judge.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        go = find_go(wanted, cache, lambda _line: None)
        fresh = binary.with_suffix(".new")
        subprocess.run(
            [str(go), "build", "-mod=readonly", "-o", str(fresh), "."], cwd=MODULE, check=True
        )
        if not binary.exists() or binary.read_bytes() != fresh.read_bytes():
            fresh.replace(binary)
    return binary
