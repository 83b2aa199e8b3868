"""Applies manifests to a world, and reports what a merge changes.

A merge that changes policies may affect engines whose own manifests stay the same or are not among
these. So the forecast runs without the merge and with it, and the differences are reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from cse_operator.api.reasons import Reason
from cse_operator.cli.manifests import Manifest
from cse_operator.cli.planning.checks import refusal
from cse_operator.cli.planning.forecast import Forecaster
from cse_operator.cli.planning.policies import Name
from cse_operator.cli.planning.verdict import Change, Kind, Verdict
from cse_operator.cli.planning.world import World

AT_ONCE: Final = 16
"""How many engines are looked at in parallel."""

Manifests = dict[str, Manifest]


@dataclass(frozen=True, slots=True)
class Merge:
    """The engines' manifests, by their keys.

    Args:
        head: The manifests to apply.
        base: The manifests in the base revision.
        compared: Whether there is a base revision.
    """

    head: Manifests
    base: Manifests
    compared: bool

    def apply(self, world: World) -> dict[str, str]:
        """Apply the manifests to a world, and return why some are refused, by their keys."""
        refused: dict[str, str] = {}
        for key in self.base.keys() - self.head.keys():
            world.remove(key)
        for key, manifest in self.head.items():
            before = self.base[key].spec if key in self.base else {}
            there = world.here.get(key)
            why = refusal(manifest, there["spec"] if there else before or None)
            if why is not None:
                refused[key] = why
            else:
                world.apply(key, manifest, before)
        return refused

    def shown(self, key: str, verdict: Verdict) -> Verdict:
        """Return a verdict with its manifest's place and how the manifest changed."""
        manifest, before = self.head.get(key), self.base.get(key)
        if manifest is None:
            return replace(verdict, change=Change.SAME)
        change = None
        if self.compared and before is None:
            change = Change.ADDED
        elif before is not None:
            same = before.content == manifest.content
            change = Change.SAME if same else Change.CHANGED
        return replace(verdict, change=change, origin=manifest.origin, line=manifest.line)

    def removed(self) -> list[Verdict]:
        """Return a verdict for each resource that the merge removes."""
        return [
            _removed(key, self.base[key]) for key in sorted(self.base.keys() - self.head.keys())
        ]


async def verdicts(
    merge: Merge,
    before: Forecaster,
    after: Forecaster,
    refused: Mapping[str, str],
    changed: Collection[Name],
) -> list[Verdict]:
    """Return a verdict for each engine of the manifests, and for those that policies now affect.

    Args:
        merge: The manifests.
        before: The forecaster of the world without the merge.
        after: The forecaster of the world with the merge.
        refused: Why some manifests are refused, by their keys.
        changed: The policies that the merge changes.
    """
    named = merge.head.keys() | merge.base.keys()
    others = (
        {one.key for one in after.world.cache if not one.deleting} - named if changed else set()
    )
    keys = (merge.head.keys() - refused.keys()) | others
    found = await _forecast(after, keys, merge.base)
    found |= {key: _refused(key, merge.head[key], why) for key, why in refused.items()}
    told = {key: merge.shown(key, found[key]) for key in sorted(found)}
    same = {key for key, verdict in told.items() if verdict.change is Change.SAME}
    in_question = {key for key in same - refused.keys() if told[key].kind is not Kind.NOTHING}
    if changed and in_question:
        there = {key for key in keys | merge.base.keys() if before.world.cache.get(key)}
        was = await _forecast(before, there, merge.base)
        same -= {
            key
            for key in in_question
            if _essence(was.get(key)) != _essence(told[key])
            or (not _is_known(told[key]) and _is_selected(key, before, after, changed))
        }
    return [verdict for key, verdict in told.items() if key not in same] + merge.removed()


async def _forecast(
    forecaster: Forecaster, keys: Iterable[str], base: Manifests
) -> dict[str, Verdict]:
    # Policies give their slots in the order of requests: one at a time is the same in every plan.
    at_once = AT_ONCE if forecaster.world.policies.gates_nothing else 1
    slots = asyncio.Semaphore(at_once)

    async def one(key: str) -> tuple[str, Verdict]:
        assumed = base[key].spec.get("version") if key in base else None
        async with slots:
            return key, await forecaster.verdict(key, assumed)

    return dict(await asyncio.gather(*map(one, sorted(keys))))


def _essence(verdict: Verdict | None) -> object:
    """Return the parts of a verdict that make it differ from another, without its text."""
    if verdict is None:
        return None
    return verdict.kind, verdict.reason, verdict.to_version, verdict.holds


def _is_known(verdict: Verdict) -> bool:
    """Whether the verdict is certain, so that an equal one proves that nothing changes."""
    return verdict.kind is not Kind.UNKNOWN and verdict.reason != Reason.POLICIES_UNKNOWN


def _is_selected(
    key: str, before: Forecaster, after: Forecaster, changed: Collection[Name]
) -> bool:
    """Whether a changed policy selects the engine, or may, without the merge or with it."""
    for world in (before.world, after.world):
        cached = world.cache.get(key)
        if cached is None:
            continue
        member = cached.member
        selection = world.policies.selecting(member.namespace, member.labels)
        if any(one.key in changed for one in (*selection.policies, *selection.unsure)):
            return True
    return False


def _refused(key: str, manifest: Manifest, why: str) -> Verdict:
    namespace, _, name = key.partition("/")
    engine = str(manifest.spec.get("engineId") or "")
    return Verdict(namespace, name, engine, Kind.REFUSED, "Invalid", why)


def _removed(key: str, before: Manifest) -> Verdict:
    namespace, _, name = key.partition("/")
    return Verdict(
        namespace,
        name,
        str(before.spec.get("engineId") or ""),
        Kind.NOTHING,
        "Deleted",
        "deleting the resource touches no engine",
        change=Change.REMOVED,
    )
