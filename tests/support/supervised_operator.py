"""An operator that is restarted as Kubernetes does it: whenever it ends by itself."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from support.operator_process import OperatorProcess

LOOK_SECONDS = 0.01
READY_LOOK_SECONDS = 0.1
STOP_SECONDS = 30.0

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 8.0
LONG_LIFE_SECONDS = 10.0
"""An operator that soon ends again is restarted with growing pauses, as Kubernetes does."""


class SupervisedOperator:
    """One replica, which runs inside the `async with` block.

    Attributes:
        process: The operator's process.
        exits: The exit codes of its ends by itself; negative for signals.
        kills: How often it was killed.
    """

    def __init__(self, kubeconfig: Path, log: Path, **arguments: Any) -> None:
        """Prepare the replica; the arguments are those of `OperatorProcess`."""
        self.process = OperatorProcess(kubeconfig, log, **arguments)
        self.exits: list[int] = []
        self.kills = 0
        self._supervision: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.process.start()
        self._supervision = asyncio.create_task(self._supervise())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._end_supervision()
        self.process.kill()

    @property
    def ends(self) -> int:
        """How often the operator ended so far, by itself or killed."""
        return len(self.exits) + self.kills

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP and SIGCONT."""
        self.process.signal(number)

    async def kill(self) -> None:
        """Kill the operator with SIGKILL and wait for its end; it is then restarted."""
        running = self.process.running()
        self.kills += 1
        running.kill()
        await _end_of(running)

    async def stop(self) -> int:
        """Send SIGTERM, return the exit code, and do not restart the operator."""
        await self._end_supervision()
        running = self.process.running()
        running.terminate()
        async with asyncio.timeout(STOP_SECONDS):
            code = await _end_of(running)
        self.process.process = None
        return code

    async def until_ready(self) -> None:
        """Wait until `/readyz` answers 200, without a time-out."""
        while (await asyncio.to_thread(self.process.get, "/readyz"))[0] != 200:  # noqa: ASYNC110
            await asyncio.sleep(READY_LOOK_SECONDS)

    async def _end_supervision(self) -> None:
        if self._supervision is not None:
            self._supervision.cancel()
            await asyncio.gather(self._supervision, return_exceptions=True)
            self._supervision = None

    async def _supervise(self) -> None:
        pause = 0.0
        while True:
            running, kills, begun = self.process.running(), self.kills, time.monotonic()
            code = await _end_of(running)
            if self.kills == kills:
                self.exits.append(code)
            if time.monotonic() - begun > LONG_LIFE_SECONDS:
                pause = 0.0
            await asyncio.sleep(pause)
            pause = min(2 * pause or FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS)
            self.process.process = None
            self.process.start()


async def _end_of(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process has ended, and return its code."""
    while (code := process.poll()) is None:  # noqa: ASYNC110 - a process sets no event
        await asyncio.sleep(LOOK_SECONDS)
    return code
