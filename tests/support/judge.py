"""Evaluates objects with the code of real GitOps tools: kstatus, CEL and Lua."""

from __future__ import annotations

import json
import subprocess
from typing import Any

from support.go_tools import tool


class Judge:
    """The program in `tests/tools/control-plane/judge`, kept running."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [str(tool("judge"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        """End the program."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def kstatus(self, manifest: dict[str, Any]) -> str:
        """Return Flux's kstatus of a live object: Current, InProgress, Failed and so on."""
        return str(self._ask({"object": manifest})["status"])

    def flux(self, expressions: dict[str, str], manifest: dict[str, Any]) -> str:
        """Return Flux's status of a live object by one entry of `healthCheckExprs`."""
        return str(self._ask({"object": manifest, "exprs": expressions})["status"])

    def lua(self, script: str, manifest: dict[str, Any]) -> Any:
        """Return a Lua script's result for a live object."""
        return self._ask({"object": manifest, "lua": script})["result"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        return answer
