"""Reads the vendor's answers into the operator's own values, and writes its request bodies.

Liberal in what it accepts, because the vendor's documents contradict each other and its own
examples: unknown enumeration values pass through and unknown fields are ignored. What cannot be
made sense of is a `WireError`, whatever bytes come. Whatever is shown of them is redacted here.

`pydantic_core.from_json` and mapping by hand read a page of 1,000 engines (1 to 2 MB) in 10 to 15
ms, redaction included. A schema that names the eight fields which are kept saves 2 of them, and
costs 2 MiB at rest with 10,000 engines: it reads all into a tree of its own first, and leaves
holes. By hand, one bad field costs that field and not the whole page.
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
from cse_operator.core.observation import Accepted, EngineView

if TYPE_CHECKING:
    from datetime import datetime

_MAX_ROWS = 5_000
"""Five times as many engines as are asked for in one page."""
_MAX_ACTIONS = 8
"""Four are documented."""
_NO_SECRETS = Redactor()


def upgrade_body(version: str) -> bytes:
    """The request body of Upgrade (CSE API Reference, Upgrading an Engine)."""
    return json.dumps({"version": version}).encode()


def retry_body() -> bytes:
    """The request body of Retry (CSE API Reference, Retrying an Engine)."""
    return json.dumps({"action": "Retry"}).encode()


def parse_engine(
    body: bytes, engine_id: str, observed_at: datetime | None, redact: Redactor = _NO_SECRETS
) -> EngineView:
    """Read a ShowEngine answer about the engine that was asked for.

    Args:
        body: The answer.
        engine_id: The engine that was asked for.
        observed_at: When the vendor answered, if it said so.
        redact: Takes out of each word what must not be shown; so in all that follow.

    Raises:
        WireError: It is no engine, another engine, or lacks the version or the status: what an
            engine does not say must not be mistaken for a version that differs from the wish.
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

    Entries without an id, a status or a version are left out of the engines: what is not said
    must not be mistaken for something else than was wished, and ShowEngine may say it.

    Raises:
        WireError: It is no list of engines.
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
    # Popped one by one: freeing each raw row before the next is stored keeps the heap whole.
    found = [engine for _ in range(read) if (engine := _engine(lines.pop(), observed_at, redact))]
    return Page(
        {one.engine_id: one if one.status and one.version else None for one in found},
        lines=read,
        total=integer(document.get("total")),
    )


def parse_accepted(body: bytes, engine_id: str, redact: Redactor = _NO_SECRETS) -> Accepted:
    """Read the answer to Upgrade or Retry.

    Raises:
        WireError: It names no usable job, or another engine.
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
    """The same tuple for equal ones: thousands of engines offer the same few actions."""
    return actions
