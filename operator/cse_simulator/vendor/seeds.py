"""Seed files: YAML that describes the world at the start.

A seed lists single engines under `engines`, groups of similar engines under `generate`, fault
rules under `faults`, and the course of jobs under `plans`; see docs/simulator.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cse_simulator.vendor import wire
from cse_simulator.vendor.engines import DEFAULT_PROJECT, EngineDescription
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan


@dataclass(slots=True)
class Generation:
    """A group of similar engines, named `<prefix>-00000`, `<prefix>-00001` and so on."""

    count: int
    prefix: str = "engine"
    project: str = DEFAULT_PROJECT
    type: str = "CSE"
    version: str = ""
    latest_version: str = ""

    def descriptions(self) -> Iterator[EngineDescription]:
        """Yield the description of each engine."""
        for index in range(self.count):
            yield EngineDescription(
                name=f"{self.prefix}-{index:05d}",
                project=self.project,
                type=self.type,
                version=self.version,
                latest_version=self.latest_version,
            )


@dataclass(slots=True)
class Seed:
    """The content of a seed file."""

    engines: list[EngineDescription] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    plans: list[tuple[str | None, JobPlan]] = field(default_factory=list)


def descriptions_from(document: Mapping[str, Any]) -> list[EngineDescription]:
    """Return the engines under `engines` and `generate`.

    Raises:
        ValueError: A description is invalid.
    """
    described = [wire.read(EngineDescription, one) for one in document.get("engines") or ()]
    for one in document.get("generate") or ():
        described.extend(wire.read(Generation, one).descriptions())
    return described


def load(path: Path) -> Seed:
    """Read a seed file.

    Raises:
        ValueError: The file is not a YAML mapping, or has an unknown key or a wrong value.
        OSError: The file cannot be read.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except yaml.YAMLError as wrong:
        raise ValueError(f"{path} is not YAML: {wrong}") from wrong
    known = {"engines", "generate", "faults", "plans"}
    if not isinstance(document, dict) or set(document) - known:
        raise ValueError(f"{path} must be a mapping of {', '.join(sorted(known))}")
    plans = [dict(one) for one in document.get("plans") or ()]
    return Seed(
        engines=descriptions_from(document),
        faults=[wire.read(Fault, one) for one in document.get("faults") or ()],
        plans=[(one.pop("engineId", None), wire.read(JobPlan, one)) for one in plans],
    )
