"""Engines: their fixed descriptions, and their states over time."""

from __future__ import annotations

import uuid
from collections import deque
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from cse_simulator.vendor.jobs import Job, JobPlan

ENGINE_TYPES = {"CSE": "CSE2", "NACOS": "Nacos2", "MICROGATEWAY": "MicroGateway"}
"""Engine types with their specType (Huawei Cloud CSE API Reference, engine details)."""

FLAVORS = {
    "CSE": "cse.s1.small2",
    "NACOS": "cse.nacos2.c1.large.10",
    "MICROGATEWAY": "cse.mg.small",
}
FIRST_VERSIONS = {
    "CSE": ("2.3.1", "2.4.0"),
    "NACOS": ("2.1.0.1", "2.1.0.16"),
    "MICROGATEWAY": ("1.0.0", "1.1.0"),
}
"""Default installed and latest version of an engine."""

DEFAULT_PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
_NAMESPACE = uuid.UUID("6f0c1c6e-90a3-5b52-9d0f-2f7c4a3f8d11")
_HISTORY = 32
"""States kept per engine for lagging reads; a longer lag shows the oldest kept state."""


def engine_id(project: str, name: str) -> str:
    """Return an engine's id, which depends on its project and name only."""
    return str(uuid.uuid5(_NAMESPACE, f"{project}/{name}"))


class Address(NamedTuple):
    """The address of an engine in a call; the enterprise project is None without its header."""

    project: str
    engine_id: str = ""
    enterprise_project: str | None = None


@dataclass(slots=True)
class EngineDescription:
    """An engine to create, as a seed file or an administrator describes it."""

    name: str
    project: str = DEFAULT_PROJECT
    id: str = ""
    type: str = "CSE"
    version: str = ""
    latest_version: str = ""
    offered_versions: tuple[str, ...] = ()
    status: str = "Available"
    description: str = ""
    enterprise_project_id: str = "0"
    auth_type: str = "NONE"
    create_user: str = "simulator"

    def __post_init__(self) -> None:
        """Check the type, and fill in the fields that were left out."""
        if self.type not in ENGINE_TYPES:
            raise ValueError(f"engine type {self.type!r} is none of {sorted(ENGINE_TYPES)}")
        installed, latest = FIRST_VERSIONS[self.type]
        self.id = self.id or engine_id(self.project, self.name)
        self.version = self.version or installed
        self.latest_version = self.latest_version or latest


@dataclass(frozen=True, slots=True)
class EngineState:
    """The state of an engine from one moment until the next state.

    Attributes:
        since: When the state began, in seconds since the epoch.
        exists: False after the engine's deletion.
        cache: The rendered JSON, filled by the first read.
    """

    since: float
    status: str
    version: str
    latest_version: str
    latest_job_id: int
    actions: tuple[str, ...] = ("Noting",)
    exists: bool = True
    cache: dict[str, bytes] = field(default_factory=dict, compare=False, repr=False)


@dataclass(slots=True)
class Engine:
    """An engine with its recent states, oldest first."""

    description: EngineDescription
    created_at: float
    states: deque[EngineState]
    number: int
    plans: list[JobPlan] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    """The engine's jobs, in the order of their first starts."""

    @classmethod
    def create(
        cls, description: EngineDescription, moment: float, job_id: int, number: int
    ) -> Engine:
        """Create an engine that exists from this moment on."""
        state = EngineState(
            since=moment,
            status=description.status,
            version=description.version,
            latest_version=description.latest_version,
            latest_job_id=job_id,
            actions=("Retry",) if description.status == "UpgradeFailed" else ("Noting",),
        )
        return cls(description, moment, deque([state], maxlen=_HISTORY), number)

    @property
    def id(self) -> str:
        """The engine's id."""
        return self.description.id

    @property
    def state(self) -> EngineState:
        """The newest state, without read lag."""
        return self.states[-1]

    def state_at(self, moment: float) -> EngineState | None:
        """Return the state at a moment, or None if the engine did not exist then."""
        for state in reversed(self.states):
            if state.since <= moment:
                return state if state.exists else None
        return self.states[0] if self.created_at <= moment else None

    def become(self, moment: float, **changes: Any) -> EngineState:
        """Put the engine into a new state."""
        old = self.state
        new = EngineState(
            since=moment,
            status=changes.get("status", old.status),
            version=changes.get("version", old.version),
            latest_version=changes.get("latest_version", old.latest_version),
            latest_job_id=changes.get("latest_job_id", old.latest_job_id),
            actions=changes.get("actions", old.actions),
            exists=changes.get("exists", old.exists),
        )
        self.states.append(new)
        return new
