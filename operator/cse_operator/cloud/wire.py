"""Reads the vendor's answers into the operator's own values, and writes its request bodies.

Liberal in what it accepts, because the vendor's documents contradict each other and its own
examples: unknown enumeration values pass through, unknown fields are ignored, numbers may come
as strings and strings as numbers, lists may be null, and both spellings of the inner step's
`taskExecutorBrief` are read. What cannot be made sense of is a `WireError`, whatever bytes come.

Whatever is shown of them is redacted here.

`pydantic_core.from_json` and mapping by hand read a page of 1,000 engines (1 to 2 MB) in 10 to 15
ms, redaction included. A schema that names the eight fields which are kept saves 2 of them, and
costs 2 MiB at rest with 10,000 engines: it reads all into a tree of its own first, and leaves
holes. By hand, one bad field costs that field and not the whole page.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic_core import from_json

from cse_operator.cloud.redaction import Redactor, clean
from cse_operator.core.observation import Accepted, EngineView, JobProgress, JobView

_MAX_VALUES = 300_000
"""Values in one answer: a page of 1,000 engines has 80,000. Each costs up to 200 bytes of memory
however few it has on the wire, such as the two of `[]`."""
_MAX_ROWS = 5_000
"""Five times as many engines as are asked for in one page."""
_MAX_WORD = 128
_MAX_TERM = 32
"""The longest type, state, version or action: documented are 13 characters, of versions 24."""
_MAX_ACTIONS = 8
"""Four are documented."""
_MAX_STEPS = 1000
_MAX_INTEGER = 2**63 - 1
_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST_TIME_MS = int((datetime(9999, 1, 1, tzinfo=UTC) - _EPOCH).total_seconds() * 1000)
_NO_SECRETS = Redactor()
_FINISHED = "Finished"
_FAILED = frozenset({"Error", "Timeout"})


class WireError(ValueError):
    """An answer that cannot be read. The text says what is wrong with it, never what it held."""


@dataclass(frozen=True, slots=True)
class EnginePage:
    """One page of ListEngines."""

    engines: tuple[EngineView, ...]
    """The entries that say all that matters of an engine."""
    ids: tuple[str, ...]
    """The ids of all entries that have one, those included that say too little else."""
    lines: int
    """How many entries were read, usable or not."""
    total: int | None
    """How many engines there are altogether, if the vendor said so (it may be wrong)."""


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
    document = _document(body)
    engine = _engine(document, observed_at, redact)
    if engine is None or engine.engine_id != engine_id:
        raise WireError("the answer is not about the engine that was asked for")
    if not engine.status or not engine.version:
        missing = "status" if not engine.status else "version"
        raise WireError(f"the answer does not say the engine's {missing}")
    return engine


def parse_engine_page(
    body: bytes, observed_at: datetime | None, redact: Redactor = _NO_SECRETS
) -> EnginePage:
    """Read one page of ListEngines.

    Entries without an id, a status or a version are left out of the engines: what is not said
    must not be mistaken for something else than was wished, and ShowEngine may say it.

    Raises:
        WireError: It is no list of engines.
    """
    document = _document(body)
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
    # Taken out one by one, so that what is kept of one comes to lie where another one was.
    found = [engine for _ in range(read) if (engine := _engine(lines.pop(), observed_at, redact))]
    return EnginePage(
        engines=tuple(engine for engine in found if engine.status and engine.version),
        ids=tuple(engine.engine_id for engine in found),
        lines=read,
        total=_integer(document.get("total")),
    )


def parse_job(
    body: bytes,
    engine_id: str,
    job_id: int,
    observed_at: datetime | None,
    redact: Redactor = _NO_SECRETS,
) -> JobView:
    """Read a ShowEngineJob answer about the job that was asked for.

    Raises:
        WireError: It is no job, another job, another engine's job, or has no status.
    """
    document = _document(body)
    status = _word(document.get("status"))
    if not status:
        raise WireError("the answer does not say the job's status")
    if document.get("id") is not None and _integer(document["id"]) != job_id:
        raise WireError("the answer is not about the job that was asked for")
    if _word(document.get("engineId")) not in {"", engine_id}:
        raise WireError("the answer is about another engine's job")
    steps = [step for step in _list(document.get("tasks"))[:_MAX_STEPS] if isinstance(step, dict)]
    return JobView(
        job_id=job_id,
        engine_id=engine_id,
        type=_term(document.get("type"), redact),
        status=redact(status, _MAX_TERM),
        started_at=_time(document.get("startTime")),
        ended_at=_time(document.get("endTime")),
        progress=_progress(steps, redact, job_finished=status == _FINISHED),
        message=_failure_message(document, steps, redact) if status in _FAILED else None,
        observed_at=observed_at,
    )


def parse_accepted(body: bytes, engine_id: str, redact: Redactor = _NO_SECRETS) -> Accepted:
    """Read the answer to Upgrade or Retry.

    Raises:
        WireError: It names no usable job, or another engine.
    """
    document = _document(body)
    if _word(document.get("id")) not in {"", engine_id}:
        raise WireError("the answer is about another engine")
    job_id = _positive(document.get("jobId"))
    if job_id is None:
        raise WireError("the answer names no job")
    name = redact(_raw(document.get("name")), _MAX_WORD) or None
    return Accepted(engine_id=engine_id, engine_name=name, job_id=job_id)


def _document(body: bytes) -> dict[str, Any]:
    # Counted without reading, and so with those in texts: no value is there without one of these.
    if body.count(b",") + body.count(b"[") + body.count(b"{") > _MAX_VALUES:
        raise WireError(f"the answer has more than {_MAX_VALUES} values")
    try:
        document = from_json(body, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        # The parser's own words quote what it read.
        raise WireError("the answer is not JSON") from None
    if not isinstance(document, dict):
        raise WireError("the answer is not a JSON object")
    return document


def _engine(line: Any, observed_at: datetime | None, redact: Redactor) -> EngineView | None:
    if not isinstance(line, dict):
        return None
    engine_id = _word(line.get("id"))
    if not engine_id:
        return None
    actions = _list(line.get("engineAdditionalActions"))[:_MAX_ACTIONS]
    return EngineView(
        engine_id=engine_id,
        name=redact(_raw(line.get("name")), _MAX_WORD),
        type=_term(line.get("type"), redact),
        status=_term(line.get("status"), redact),
        version=_term(line.get("version"), redact),
        latest_version=_term(line.get("latestVersion"), redact) or None,
        latest_job_id=_positive(line.get("latestJobId")),
        additional_actions=_shared(
            tuple(term for action in actions if (term := _term(action, redact)))
        ),
        observed_at=observed_at,
    )


@lru_cache(maxsize=64)
def _shared(actions: tuple[str, ...]) -> tuple[str, ...]:
    """The same tuple for equal ones: thousands of engines offer the same few actions."""
    return actions


def _progress(
    steps: list[dict[str, Any]], redact: Redactor, *, job_finished: bool
) -> JobProgress | None:
    """Count the steps.

    A finished job has finished all of them, whatever they say: the vendor's own example shows a
    finished job with an inner task still in `Init`.
    """
    if not steps:
        return None
    unfinished = [] if job_finished else [step for step in steps if not _step_finished(step)]
    return JobProgress(
        completed=len(steps) - len(unfinished),
        total=len(steps),
        step=redact(_step_name(unfinished[0]), _MAX_WORD) or None if unfinished else None,
    )


def _step_finished(step: dict[str, Any]) -> bool:
    status = _word(step.get("status"))
    if status:
        return status == _FINISHED
    inner = _inner_tasks(step)
    return bool(inner) and all(_word(task.get("status")) == _FINISHED for task in inner)


def _step_name(step: dict[str, Any]) -> str:
    """The step's name as the vendor has it, not yet fit to be shown; empty where it has none."""
    names = (step.get("taskName"), *_list(step.get("taskNames")), step.get("name"))
    return next((raw for name in names if (raw := _raw(name))), "")


def _inner_tasks(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [task for task in _list(step.get("tasks"))[:_MAX_STEPS] if isinstance(task, dict)]


def _failure_message(
    job: dict[str, Any], steps: list[dict[str, Any]], redact: Redactor
) -> str | None:
    """What a failed job says of itself: the failed step and its words, else the job's own."""
    for step in steps:
        tasks = [*_inner_tasks(step), step]
        failed = next((task for task in tasks if _word(task.get("status")) in _FAILED), None)
        if failed is None:
            continue
        name = _step_name(failed) or _step_name(step) or "a step"
        words = _words_of(failed) or _words_of(step) or _text(job.get("description"))
        return redact(f"{name}: {words}" if words not in {"", name} else f"{name} failed")
    return redact(_text(job.get("description"))) or None


def _words_of(task: dict[str, Any]) -> str:
    # The vendor's own example spells the key both ways.
    for key in ("taskExecutorBrief", "taskexEcutorBrief"):
        brief = task.get(key)
        if isinstance(brief, dict) and (words := _text(brief.get("description"))):
            return words
    return _text(task.get("output")) or _text(task.get("log"))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _term(value: Any, redact: Redactor) -> str:
    """A word of which thousands of engines share a few: a type, a state, a version, an action."""
    return redact.term(_raw(value), _MAX_TERM)


def _word(value: Any) -> str:
    """A short word to compare with, not to show: an id, or the state of a step."""
    return clean(_raw(value), _MAX_WORD)


def _raw(value: Any) -> str:
    """What the vendor says, as text: numbers become it, what is neither is empty."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return ""


def _integer(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if _INTEGER.fullmatch(value.strip()) else None
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and abs(value) <= _MAX_INTEGER else None


def _positive(value: Any) -> int | None:
    """A job's number; 0 and below stand for "none"."""
    number = _integer(value)
    return number if number is not None and number > 0 else None


def _time(value: Any) -> datetime | None:
    """A moment given in epoch milliseconds; 0, negative and absurd ones mean "not yet"."""
    milliseconds = _positive(value)
    if milliseconds is None or milliseconds >= _LATEST_TIME_MS:
        return None
    return _EPOCH + timedelta(milliseconds=milliseconds)
