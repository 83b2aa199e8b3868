"""Parses the vendor's answers into the operator's own values, and writes request bodies.

The parser is liberal, because the vendor's documents contradict each other and their own
examples: unknown enumeration values pass through and unknown fields are ignored. An answer that
cannot be understood raises `WireError`, whatever bytes it holds. This module redacts every text
that may be shown.

`pydantic_core.from_json` plus mapping by hand reads a page of 1,000 engines (1 to 2 MB) in 10 to 15
ms, redaction included. A schema of the eight kept fields would save 2 ms, but cost 2 MiB at rest
with 10,000 engines: it first builds a tree of everything, which fragments the heap. With mapping by
hand, one bad field loses that field and not the whole page.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from cse_operator.cloud.paging import Page
from cse_operator.cloud.redaction import Redactor
from cse_operator.cloud.values import (
    LONGEST_WORD,
    WireError,
    document_of,
    integer,
    items,
    positive,
    raw,
    term,
    word,
)
from cse_operator.core.views import Accepted, EngineView

if TYPE_CHECKING:
    from datetime import datetime

_MAX_ROWS = 5_000
"""Five times the engines requested per page."""
_MAX_ACTIONS = 8
"""The vendor documents four."""
_NO_SECRETS = Redactor()


def upgrade_body(version: str) -> bytes:
    """Return the request body of Upgrade (CSE API Reference, Upgrading an Engine)."""
    return json.dumps({"version": version}).encode()


def retry_body() -> bytes:
    """Return the request body of Retry (CSE API Reference, Retrying an Engine)."""
    return json.dumps({"action": "Retry"}).encode()


def parse_engine(
    body: bytes, engine_id: str, observed_at: datetime | None, redact: Redactor = _NO_SECRETS
) -> EngineView:
    """Read a ShowEngine answer about the engine that was asked for.

    Args:
        body: The answer.
        engine_id: The engine that was asked for.
        observed_at: When the vendor answered, if its answer says so.
        redact: Removes secrets from each text that may be shown.

    Raises:
        WireError: The answer is not an engine, is about another engine, or lacks the version or
            the status. A missing version must not be mistaken for one that differs from the
            desired version.
    """
    document = document_of(body)
    engine = _engine(document, observed_at, redact)
    if engine is None or engine.engine_id != engine_id:
        raise WireError("the answer is not about the engine that was asked for")
    if not engine.status or not engine.version:
        missing = "status" if not engine.status else "version"
        raise WireError(f"the answer does not say the engine's {missing}")
    return engine


def parse_engine_page(
    body: bytes, observed_at: datetime | None, redact: Redactor = _NO_SECRETS
) -> Page[EngineView]:
    """Read one page of ListEngines.

    An entry without an id is dropped. An entry without a status or a version becomes `None`: a
    missing version must not be mistaken for one that differs from the desired version, and
    ShowEngine may return it.

    Raises:
        WireError: The answer is not a list of engines.
    """
    document = document_of(body)
    if "data" not in document:
        raise WireError("the answer has no list of engines")
    lines = document["data"]
    if lines is None:
        lines = []
    if not isinstance(lines, list):
        raise WireError("the list of engines is not a list")
    del lines[_MAX_ROWS:]
    read = len(lines)
    lines.reverse()
    # Pop one by one: freeing each raw row before the next is stored avoids a fragmented heap.
    found = [engine for _ in range(read) if (engine := _engine(lines.pop(), observed_at, redact))]
    return Page(
        {one.engine_id: one if one.status and one.version else None for one in found},
        lines=read,
        total=integer(document.get("total")),
    )


def parse_accepted(body: bytes, engine_id: str, redact: Redactor = _NO_SECRETS) -> Accepted:
    """Read the answer to Upgrade or Retry.

    Raises:
        WireError: The answer names no usable job, or names another engine.
    """
    document = document_of(body)
    if word(document.get("id")) not in {"", engine_id}:
        raise WireError("the answer is about another engine")
    job_id = positive(document.get("jobId"))
    if job_id is None:
        raise WireError("the answer names no job")
    name = redact(raw(document.get("name")), LONGEST_WORD) or None
    return Accepted(engine_id=engine_id, engine_name=name, job_id=job_id)


def _engine(line: Any, observed_at: datetime | None, redact: Redactor) -> EngineView | None:
    if not isinstance(line, dict):
        return None
    engine_id = word(line.get("id"))
    if not engine_id:
        return None
    actions = items(line.get("engineAdditionalActions"))[:_MAX_ACTIONS]
    return EngineView(
        engine_id=engine_id,
        name=redact(raw(line.get("name")), LONGEST_WORD),
        type=term(line.get("type"), redact),
        status=term(line.get("status"), redact),
        version=term(line.get("version"), redact),
        latest_version=term(line.get("latestVersion"), redact) or None,
        latest_job_id=positive(line.get("latestJobId")),
        additional_actions=_shared(
            tuple(one for action in actions if (one := term(action, redact)))
        ),
        observed_at=observed_at,
    )


@lru_cache(maxsize=64)
def _shared(actions: tuple[str, ...]) -> tuple[str, ...]:
    """Return one shared tuple for equal tuples: thousands of engines offer the same few actions."""
    return actions
