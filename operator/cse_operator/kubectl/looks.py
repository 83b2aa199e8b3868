"""The commands that only show: status, history, and waiting for the end of upgrades."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cse_operator.kubectl.call import Kubectl, KubectlError
from cse_operator.kubectl.engine import Engine, State
from cse_operator.kubectl.output import Output, say, table, wrapped
from cse_operator.kubectl.tree import draw

DONE: Final = 0
FAILED: Final = 1
TIMED_OUT: Final = 124
"""The exit code that `timeout` and cmctl use."""

EVERY: Final = 2.0
"""Seconds between two reads of the resources."""
_FINAL: Final = re.compile(r"\((NotFound|Forbidden|Unauthorized)\)")
_CLEAR: Final = "\x1b[H\x1b[2J"


def status(
    kubectl: Kubectl, output: Output, names: Sequence[str], *, whole: bool, watch: bool
) -> int:
    """Show the state of engines: once, or at each change."""
    looks = _Looks(kubectl, names)
    before = ""
    while True:
        engines = looks.take()
        if not engines and not watch:
            say("There are no engines here: kubectl cse status -A looks in all namespaces")
        text = draw(engines, output, whole=whole or bool(names))
        if not watch:
            output.show([one.summary() for one in engines], text)
            return DONE
        if text != before:
            output.write(f"{_CLEAR}{text}" if output.is_terminal else f"{text}\n")
            before = text
        time.sleep(EVERY)


class _Looks:
    """Rereads the same resources, and goes on while the API server is away.

    An error of the first read is raised, and so is one that says that a resource is gone or may no
    longer be read.
    """

    def __init__(self, kubectl: Kubectl, names: Sequence[str]) -> None:
        self._kubectl = kubectl
        self._names = names
        self._last: list[Engine] | None = None
        self._away = False

    def take(self) -> list[Engine]:
        """Return the resources as they are, or the last ones while the API server is away.

        Raises:
            KubectlError: The resources cannot be read, and waiting would not help.
        """
        try:
            found = [Engine(raw) for raw in self._kubectl.engines(self._names)]
        except KubectlError as error:
            if self._last is None or re.search(
                r"\((NotFound|Forbidden|Unauthorized)\)", str(error)
            ):
                raise
            if not self._away:
                say(f"looking again: {error}")
            self._away = True
            return self._last
        self._last, self._away = found, False
        return found


def history(kubectl: Kubectl, output: Output, names: Sequence[str]) -> int:
    """Show the last upgrades, the newest first."""
    entries = [
        (engine, entry)
        for engine in map(Engine, kubectl.engines(names))
        for entry in engine.status.get("history") or ()
    ]
    head = ("NAME", "FINISHED", "CALL", "FROM", "TO", "JOB", "RESULT")
    lines = table(head, [_ended(engine, entry) for engine, entry in entries]).splitlines()
    text = lines[:1]
    for line, (_, entry) in zip(lines[1:], entries, strict=True):
        text.append(line)
        if said := (entry.get("error") or {}).get("message"):
            text.append(f"   {wrapped(str(said), output.width, '   ')}")
    content = [
        {"namespace": engine.namespace, "name": engine.name, **entry} for engine, entry in entries
    ]
    output.show(content, "\n".join(text) if entries else "no upgrade has ended yet")
    return DONE


def _ended(engine: Engine, entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns of one ended upgrade."""
    facts = ("finishedAt", "action", "fromVersion", "targetVersion", "jobId", "result")
    return (engine.name, *(str(entry.get(fact) or "-") for fact in facts))


def wait(
    kubectl: Kubectl,
    output: Output,
    names: Sequence[str],
    *,
    timeout: float,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait until each engine is at its version, or one needs a person.

    Returns:
        0; 1 as soon as an engine is stalled; 124 after `timeout` seconds.
    """
    until = clock() + timeout
    told: dict[str, str] = {}
    looks = _Looks(kubectl, names)
    while True:
        engines = looks.take()
        for one in engines:
            line = f"{one.state.value[0]} {one.name}: {one.message}"
            if told.get(one.name) != line:
                say(line)
                told[one.name] = line
        stalled = any(one.state is State.BAD for one in engines)
        done = all(one.state is State.GOOD for one in engines)
        late = clock() >= until
        if stalled or done or late:
            output.show([one.summary() for one in engines], "")
            break
        sleep(min(EVERY, max(until - clock(), 0.0)))
    if stalled:
        return FAILED
    if done:
        return DONE
    missing = ", ".join(one.name for one in engines if one.state is not State.GOOD)
    say(f"not at their versions after {timeout:g} s: {missing}")
    return TIMED_OUT
