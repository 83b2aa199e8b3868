"""Received calls, parsed but not yet judged: the operation, and the ids in the path."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote

from cse_simulator.vendor.engines import Address

LIST_ENGINES = "ListEngines"
SHOW_ENGINE = "ShowEngine"
SHOW_ENGINE_JOB = "ShowEngineJob"
LIST_ENGINE_JOBS = "QueryEngineJobList"
UPGRADE = "Upgrade"
RETRY = "Retry"
ISSUE_TOKEN = "IssueToken"  # noqa: S105 - the name of an operation
TRADE_ID_TOKEN = "TradeIdToken"  # noqa: S105 - the name of an operation
TRADE_TOKEN = "TradeToken"  # noqa: S105 - the name of an operation
ASSUME_AGENCY = "AssumeAgency"
POD_IDENTITY = "PodIdentity"
UNKNOWN = "Unknown"
OPERATIONS = (
    LIST_ENGINES,
    SHOW_ENGINE,
    SHOW_ENGINE_JOB,
    LIST_ENGINE_JOBS,
    UPGRADE,
    RETRY,
    ISSUE_TOKEN,
    TRADE_ID_TOKEN,
    TRADE_TOKEN,
    ASSUME_AGENCY,
    POD_IDENTITY,
    UNKNOWN,
)

# Path segments after the leading slash; {} stands for a value.
_ROUTES: dict[tuple[str, int, str], tuple[str, tuple[str, ...]]] = {
    ("GET", 4, ""): (LIST_ENGINES, ("v2", "{}", "enginemgr", "engines")),
    ("GET", 5, ""): (SHOW_ENGINE, ("v2", "{}", "enginemgr", "engines", "{}")),
    ("GET", 7, ""): (SHOW_ENGINE_JOB, ("v2", "{}", "enginemgr", "engines", "{}", "jobs", "{}")),
    ("GET", 6, "jobs"): (LIST_ENGINE_JOBS, ("v2", "{}", "enginemgr", "engines", "{}", "jobs")),
    ("PUT", 6, "upgrade"): (UPGRADE, ("v2", "{}", "enginemgr", "engines", "{}", "upgrade")),
    ("PUT", 6, "actions"): (RETRY, ("v2", "{}", "enginemgr", "engines", "{}", "actions")),
    ("POST", 3, ""): (ISSUE_TOKEN, ("v3", "auth", "tokens")),
    ("POST", 4, ""): (TRADE_ID_TOKEN, ("v3.0", "OS-AUTH", "id-token", "tokens")),
    ("POST", 3, "securitytokens"): (TRADE_TOKEN, ("v3.0", "OS-CREDENTIAL", "securitytokens")),
    ("POST", 3, "assume-with-oidc"): (ASSUME_AGENCY, ("v5", "agencies", "assume-with-oidc")),
    ("POST", 2, ""): (POD_IDENTITY, ("pod-identity", "credentials")),
}
_NAMED_TAILS = {"upgrade", "actions", "jobs", "securitytokens", "assume-with-oidc"}


@dataclass(slots=True)
class Call:
    """One received call.

    Attributes:
        operation: The operation's name, `Unknown` for a path the vendor does not have.
        method: HTTP method.
        path: Path as received, still percent-encoded, without the query.
        query: Query string as received.
        headers: Headers as received; names compare without case.
        body: The body.
        project: Project id in the path, or "".
        engine_id: Engine id in the path, or "".
        job_id: Job id in the path, or "".
        request_id: The id that this server gave the call.
    """

    operation: str
    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    project: str = ""
    engine_id: str = ""
    job_id: str = ""
    request_id: str = ""

    @classmethod
    def received(
        cls, method: str, target: str, headers: Mapping[str, str], body: bytes, request_id: str
    ) -> Call:
        """Read a call from its request line, headers and body."""
        path, _, query = target.partition("?")
        segments = path.split("/")[1:]
        tail = segments[-1] if segments[-1] in _NAMED_TAILS else ""
        operation, pattern = _ROUTES.get((method, len(segments), tail), (UNKNOWN, ()))
        values = _values(segments, pattern)
        if values is None:
            return cls(UNKNOWN, method, path, query, headers, body, request_id=request_id)
        return cls(operation, method, path, query, headers, body, *values, request_id)

    def parameters(self) -> dict[str, str]:
        """Return the query parameters; of equal names, the last one counts."""
        return dict(parse_qsl(self.query, keep_blank_values=True)) if self.query else {}

    @property
    def address(self) -> Address:
        """The engine's address as the call gives it."""
        enterprise_project = self.headers.get("X-Enterprise-Project-ID")
        return Address(self.project, self.engine_id, enterprise_project)


def _values(segments: list[str], pattern: tuple[str, ...]) -> tuple[str, str, str] | None:
    if not pattern:
        return None
    values: list[str] = []
    for segment, expected in zip(segments, pattern, strict=True):
        if expected == "{}":
            if not segment:
                return None
            values.append(unquote(segment))
        elif segment != expected:
            return None
    project, engine_id, job_id, *_ = *values, "", "", ""
    return project, engine_id, job_id


def as_json(text: bytes) -> Any:
    """Return a body parsed as JSON, or as text if it is not JSON."""
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text.decode("utf-8", "replace")
