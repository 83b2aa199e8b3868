"""Finds what the API server would refuse in a policy, as far as is known without it. Pure.

The CEL rules are in `api/policy.py`, beside their fields. This module repeats them in Python, and a
test checks that both refuse the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from pydantic import ValidationError

from cse_operator.api.duration import parse_duration
from cse_operator.api.names import CLUSTER_POLICY_KIND
from cse_operator.api.policy import (
    ClusterPolicySpec,
    Operator,
    PolicySpec,
    Selector,
    Wave,
    Window,
)
from cse_operator.cli.manifests import Manifest
from cse_operator.cli.planning.checks import place_of, refusal_of_frame, told_by
from cse_operator.core.zones import zone

_SHORTEST: Final = timedelta(minutes=5)
_LONGEST: Final = timedelta(hours=168)
_LONGEST_SOAK: Final = timedelta(hours=720)
_WITH_VALUES: Final = frozenset({Operator.IN, Operator.NOT_IN})


def as_sent(manifest: Manifest) -> str:
    """Return a manifest's spec as the JSON that a client sends, in which YAML's dates are texts.

    Raises:
        TypeError: A key is not a string.
    """
    return json.dumps(manifest.content.get("spec"), default=str)


def refusal_of_policy(manifest: Manifest) -> str | None:
    """Return why the API server would refuse a policy; None if it accepts it."""
    why = refusal_of_frame(manifest)
    if why is not None:
        return why
    model = ClusterPolicySpec if manifest.kind == CLUSTER_POLICY_KIND else PolicySpec
    try:
        spec = model.model_validate_json(as_sent(manifest), strict=True)
    except TypeError as error:
        return f"spec: {error}"
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "extra_forbidden":
            return f"there is no field {place_of(first)}"
        return f"{place_of(first)}: {told_by(first)}"
    return next(_broken_rules(spec), None)


def _broken_rules(spec: PolicySpec) -> Iterator[str]:
    windows = spec.windows or ()
    yield from _doubles("spec.windows", windows)
    yield from _doubles("spec.waves", spec.waves)
    for window in windows:
        yield from (f"window {window.name}: {why}" for why in _of_window(window))
    for freeze in spec.freezes:
        if freeze.start >= freeze.end:
            yield "spec.freezes: from must be before to"
    for wave in spec.waves:
        if parse_duration(wave.soak) > _LONGEST_SOAK:
            yield f"wave {wave.name}: soak must be at most 720h"
        yield from _of_selector(wave.selector)
    yield from _of_selector(spec.selector)
    if isinstance(spec, ClusterPolicySpec):
        yield from _of_selector(spec.namespace_selector)


def _doubles(field: str, named: Sequence[Window] | Sequence[Wave]) -> Iterator[str]:
    names = [one.name for one in named]
    yield from (f"{field}: {name} is named twice" for name in names if names.count(name) > 1)


def _of_window(window: Window) -> Iterator[str]:
    duration = parse_duration(window.duration)
    if not _SHORTEST <= duration <= _LONGEST:
        yield "duration must be from 5m to 168h"
    if parse_duration(window.cutoff) >= duration:
        yield "cutoff must be shorter than duration"
    _, _, day, _, weekday = window.schedule.split(" ")
    if "*" not in (day, weekday):
        yield "give the day of month or the day of week, and * for the other"
    try:
        zone(window.time_zone)
    except ValueError as error:
        yield str(error)


def _of_selector(selector: Selector | None) -> Iterator[str]:
    for requirement in selector.match_expressions if selector is not None else ():
        if (requirement.operator in _WITH_VALUES) != bool(requirement.values):
            yield "In and NotIn need values, Exists and DoesNotExist take none"
