"""What the commands show: where engines stand, how their upgrades ended, and how one goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from cse_operator.kubectl.call import Kubectl
from cse_operator.kubectl.engine import Engine, State
from cse_operator.kubectl.output import Output, say, table, wrapped
from cse_operator.kubectl.tree import draw

DONE: Final = 0
FAILED: Final = 1
TIMED_OUT: Final = 124
"""As of `timeout` and of cmctl."""

EVERY: Final = 2.0
"""Seconds between looks."""
_CLEAR: Final = "\x1b[H\x1b[2J\x1b[3J"


def status(
    kubectl: Kubectl, output: Output, names: Sequence[str], *, whole: bool, watch: bool
) -> int:
    """Show where engines stand: once, or whenever it changes."""
    before = ""
    while True:
        engines = [Engine(raw) for raw in kubectl.engines(names)]
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
    """The columns of one ended upgrade."""
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
        0, or 1 as soon as one is stalled, or 124 after the time-out.
    """
    until = clock() + timeout
    told: dict[str, str] = {}
    while True:
        engines = [Engine(raw) for raw in kubectl.engines(names)]
        for one in engines:
            news = f"{one.state.value[0]} {one.name}: {one.message}"
            if told.get(one.name) != news:
                say(news)
                told[one.name] = news
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
    say(f"not there after {timeout:g} s: {missing}")
    return TIMED_OUT
