"""Parses the vendor's jobs: a single job, or a page of an engine's list of jobs.

Only a job's top-level `status` says how it ended: the vendor's own example shows a finished job
with an inner task still in `Init`. Both spellings of an inner task's `taskExecutorBrief` are
read. An answer that cannot be understood raises `WireError`. This module redacts every text that
may be shown.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cse_operator.cloud.paging import Page
from cse_operator.cloud.redaction import Redactor
from cse_operator.cloud.values import (
    LONGEST_WORD,
    WireError,
    document_of,
    integer,
    items,
    moment,
    positive,
    raw,
    term,
    text,
    word,
)
from cse_operator.core.views import JobProgress, JobView

if TYPE_CHECKING:
    from datetime import datetime

_MAX_STEPS = 1000
_MAX_ROWS = 1000
"""Twenty times the jobs requested per page."""
_NO_SECRETS = Redactor()
_FINISHED = "Finished"
_FAILED = frozenset({"Error", "Timeout"})
_SCHEDULING: dict[int | None, bool] = {0: False, 1: True}


def parse_job(
    body: bytes,
    engine_id: str,
    job_id: int,
    observed_at: datetime | None,
    redact: Redactor = _NO_SECRETS,
) -> JobView:
    """Read a ShowEngineJob answer about the job that was asked for.

    Raises:
        WireError: The answer is not a job, is about another job or another engine's job, or has
            no status.
    """
    document = document_of(body)
    if not word(document.get("status")):
        raise WireError("the answer does not say the job's status")
    if document.get("id") is not None and integer(document["id"]) != job_id:
        raise WireError("the answer is not about the job that was asked for")
    if word(document.get("engineId")) not in {"", engine_id}:
        raise WireError("the answer is about another engine's job")
    return _job(document, engine_id, job_id, observed_at, redact)


def parse_job_page(
    body: bytes, engine_id: str, observed_at: datetime | None, redact: Redactor = _NO_SECRETS
) -> Page[JobView]:
    """Read one page of QueryEngineJobList.

    The page is `{total, data[]}`; an older form wraps that in a list under `OK`. Rows without an
    id and rows of another engine are dropped; a row without a status becomes `None`.

    Raises:
        WireError: The answer is not a list of jobs.
    """
    parts = _unwrapped(document_of(body))
    rows = [row for part in parts for row in _rows(part)][:_MAX_ROWS]
    found: dict[str, JobView | None] = {}
    for row in rows:
        job_id = positive(row.get("id")) if isinstance(row, dict) else None
        if job_id is None or word(row.get("engineId")) not in {"", engine_id}:
            continue
        known = word(row.get("status")) != ""
        found[str(job_id)] = _job(row, engine_id, job_id, observed_at, redact) if known else None
    return Page(found, lines=len(rows), total=integer(parts[0].get("total")))


def _unwrapped(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the parts that hold `total` and `data`: the answer itself, or the parts under `OK`."""
    parts = [document] if "data" in document else document.get("OK")
    if isinstance(parts, dict):
        parts = [parts]
    if not isinstance(parts, list) or not parts:
        raise WireError("the answer has no list of jobs")
    if not all(isinstance(part, dict) and "data" in part for part in parts):
        raise WireError("the answer has no list of jobs")
    return parts


def _rows(part: dict[str, Any]) -> list[Any]:
    if part["data"] is not None and not isinstance(part["data"], list):
        raise WireError("the list of jobs is not a list")
    return part["data"] or []


def _job(
    document: dict[str, Any],
    engine_id: str,
    job_id: int,
    observed_at: datetime | None,
    redact: Redactor,
) -> JobView:
    status = word(document.get("status"))
    steps = [step for step in items(document.get("tasks"))[:_MAX_STEPS] if isinstance(step, dict)]
    return JobView(
        job_id=job_id,
        engine_id=engine_id,
        type=term(document.get("type"), redact),
        status=term(status, redact),
        started_at=moment(document.get("startTime")),
        ended_at=moment(document.get("endTime")),
        progress=_progress(steps, redact, job_finished=status == _FINISHED),
        message=_failure_message(document, steps, redact) if status in _FAILED else None,
        observed_at=observed_at,
        scheduled=_SCHEDULING.get(integer(document.get("scheduling"))),
        created_by=redact(raw(document.get("createUser")), LONGEST_WORD),
    )


def _progress(
    steps: list[dict[str, Any]], redact: Redactor, *, job_finished: bool
) -> JobProgress | None:
    """Count the finished steps.

    All steps of a finished job count as finished, whatever their own status: the vendor's own
    example shows a finished job with an inner task still in `Init`.
    """
    if not steps:
        return None
    unfinished = [] if job_finished else [step for step in steps if not _step_finished(step)]
    return JobProgress(
        completed=len(steps) - len(unfinished),
        total=len(steps),
        step=redact(_step_name(unfinished[0]), LONGEST_WORD) or None if unfinished else None,
    )


def _step_finished(step: dict[str, Any]) -> bool:
    status = word(step.get("status"))
    if status:
        return status == _FINISHED
    inner = _inner_tasks(step)
    return bool(inner) and all(word(task.get("status")) == _FINISHED for task in inner)


def _step_name(step: dict[str, Any]) -> str:
    """Return the step's name as the vendor wrote it, not yet redacted; empty if it has none."""
    names = (step.get("taskName"), *items(step.get("taskNames")), step.get("name"))
    return next((said for name in names if (said := raw(name))), "")


def _inner_tasks(step: dict[str, Any]) -> list[dict[str, Any]]:
    return [task for task in items(step.get("tasks"))[:_MAX_STEPS] if isinstance(task, dict)]


def _failure_message(
    job: dict[str, Any], steps: list[dict[str, Any]], redact: Redactor
) -> str | None:
    """Return the failed step and its message, else the job's own description."""
    for step in steps:
        tasks = [*_inner_tasks(step), step]
        failed = next((task for task in tasks if word(task.get("status")) in _FAILED), None)
        if failed is None:
            continue
        name = _step_name(failed) or _step_name(step) or "a step"
        words = _words_of(failed) or _words_of(step) or text(job.get("description"))
        return redact(f"{name}: {words}" if words not in {"", name} else f"{name} failed")
    return redact(text(job.get("description"))) or None


def _words_of(task: dict[str, Any]) -> str:
    # The vendor's own example periods the key both ways.
    for key in ("taskExecutorBrief", "taskexEcutorBrief"):
        brief = task.get(key)
        if isinstance(brief, dict) and (words := text(brief.get("description"))):
            return words
    return text(task.get("output")) or text(task.get("log"))
