"""The answers of the simulator's admin API, as dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class ReceivedCall:
    """A call the simulator received; `time` is in seconds since the epoch.

    Header names are lower-case. Credentials in `headers` and `body` are replaced. `outcome` is
    answered, reset, hung or truncated, or "" while the call is being handled. `status` is 0 if no
    answer was sent.
    """

    number: int
    time: float
    operation: str
    method: str
    path: str
    query: str
    project_id: str
    engine_id: str
    job_id: str
    request_id: str
    headers: dict[str, str]
    body: Any
    status: int
    outcome: str
    fault: str


@dataclass(frozen=True, slots=True)
class EngineSummary:
    """An engine's true state, without the read lag of the vendor's API."""

    id: str
    name: str
    project_id: str
    type: str
    status: str
    version: str
    latest_version: str
    latest_job_id: int
    actions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Authentications:
    """How often a credential was accepted and refused, and its longest run of refusals."""

    credential: str
    accepted: int
    refused: int
    most_refused_in_a_row: int


def engine_summary(answer: Mapping[str, Any]) -> EngineSummary:
    """Read an engine from an answer, which may have further fields."""
    return EngineSummary(
        id=answer["id"],
        name=answer["name"],
        project_id=answer["projectId"],
        type=answer["type"],
        status=answer["status"],
        version=answer["version"],
        latest_version=answer["latestVersion"],
        latest_job_id=answer["latestJobId"],
        actions=tuple(answer["actions"]),
    )
