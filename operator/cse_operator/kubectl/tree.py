"""Draws the tree of `kubectl cse status`: equal engines in groups, the others in full."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

from cse_operator.kubectl.engine import Engine, State
from cse_operator.kubectl.holds import holds_of
from cse_operator.kubectl.output import Output, wrapped

_FEW: Final = 3
"""The least number of equal engines that form a group."""
_NAMES: Final = 8
_LABEL: Final = 9
_ORDER: Final = {
    state: place
    for place, state in enumerate(
        (State.BAD, State.MOVING, State.UNSEEN, State.WAITING, State.GOOD)
    )
}


def draw(engines: Sequence[Engine], output: Output, *, whole: bool) -> str:
    """Return the tree of all engines, by namespaces.

    Args:
        engines: The engines to show.
        output: Gives the width and the colours.
        whole: Whether to show each engine in full.
    """
    by_namespace = sorted(engines, key=lambda one: (one.namespace, _ORDER[one.state], one.name))
    lines: list[str] = []
    for namespace, members in groupby(by_namespace, key=lambda one: one.namespace):
        lines += _namespace(namespace, list(members), output, whole=whole)
    return "\n".join(lines)


def _namespace(namespace: str, engines: list[Engine], output: Output, *, whole: bool) -> list[str]:
    counts = ", ".join(
        f"{count} {word}"
        for state, word in (
            (State.GOOD, "up to date"),
            (State.MOVING, "in an upgrade"),
            (State.WAITING, "waiting"),
            (State.UNSEEN, "not looked at yet"),
            (State.BAD, "in need of a person"),
        )
        if (count := sum(one.state is state for one in engines))
    )
    lines = [f"{output.paint(namespace, '1')}: {counts}"]
    groups = [[one] for one in engines] if whole else list(_equals(engines))
    for place, group in enumerate(groups):
        last = place == len(groups) - 1
        branch, below = ("└─ ", "   ") if last else ("├─ ", "│  ")
        lines += _group(group, output, branch, below, whole=whole)
    return lines


def _equals(engines: Iterable[Engine]) -> Iterable[list[Engine]]:
    """Yield groups of engines in the same state; few equal engines are a group each."""
    for _, members in groupby(engines, key=_alike):
        group = list(members)
        if len(group) >= _FEW:
            yield group
        else:
            yield from ([one] for one in group)


def _alike(one: Engine) -> tuple[object, ...]:
    if one.state in {State.BAD, State.MOVING}:
        return (one.namespace, one.name)
    return (one.state, one.current, one.desired, one.reason, holds_of(one.raw))


def _group(
    group: list[Engine], output: Output, branch: str, below: str, *, whole: bool
) -> list[str]:
    first = group[0]
    sign = output.paint(first.state.value[0], first.state.value[1])
    if len(group) > 1:
        names = [one.name for one in group]
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        listed = ", ".join(names[:_NAMES]) + more
        holds = "".join(f", {hold.sentence()}" for hold in holds_of(first.raw))
        text = f"{len(group)} {_versions(first)} {first.reason}{holds}: {listed}"
        return [f"{branch}{sign} {wrapped(text, output.width, f'{below}  ')}"]
    lines = [f"{branch}{sign} {first.name}  {_versions(first)}  {first.reason}"]
    if whole or first.state is not State.GOOD:
        lines += _details(first, output, below)
    return lines


def _versions(one: Engine) -> str:
    if one.current is None:
        return f"wants {one.desired}"
    return one.current if one.state is State.GOOD else f"{one.current} → {one.desired}"


def _details(one: Engine, output: Output, below: str) -> list[str]:
    facts = [("engine", _engine(one))]
    facts += [("held", hold.words()) for hold in holds_of(one.raw)]
    if one.spec.get("suspend") and one.reason != "Suspended":
        facts.append(("suspend", "spec.suspend is true: nothing new is started"))
    if one.upgrade:
        facts.append(("upgrade", _upgrade(one)))
    if steps := one.progress():
        facts.append(("steps", steps))
    facts.append(("why", one.message))
    lines = []
    for place, (label, text) in enumerate(facts):
        last = place == len(facts) - 1
        branch, under = ("└─ ", "   ") if last else ("├─ ", "│  ")
        indent = f"{below}{under}{'':{_LABEL}}"
        lines.append(f"{below}{branch}{label:<{_LABEL}}{wrapped(text, output.width, indent)}")
    return lines


def _engine(one: Engine) -> str:
    engine = one.status.get("engine") or {}
    if not engine:
        return f"{one.spec.get('engineId')} in {one.spec.get('region')}, not seen yet"
    latest = one.status.get("latestVersion")
    offered = f", {latest} is offered" if latest and latest != one.current else ""
    return (
        f"{engine.get('name')} ({engine.get('type')}), {engine.get('status')} at "
        f"{one.current}{offered}"
    )


def _upgrade(one: Engine) -> str:
    upgrade = one.upgrade
    job = f", job {upgrade['jobId']}" if upgrade.get("jobId") else ""
    retries = f", retry {upgrade['retries']}" if upgrade.get("retries") else ""
    runs = upgrade.get("jobStatus") or ("it runs" if job else "no answer yet")
    ended = upgrade.get("result") or runs
    what = f"{upgrade.get('action')} {upgrade.get('fromVersion') or '?'} → "
    return f"{what}{upgrade.get('targetVersion') or '?'}{job}{retries}, {ended}"
