"""Makes full live manifests of a resource in every phase, as the operator would write them.

The decision core makes them. They are kept as Argo CD's testdata, and the tests give the same files
to kstatus, so that all tools judge the same objects.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import yaml

from cse_operator.api.names import API_VERSION, KIND, POLICY_KIND
from cse_operator.api.spec import Spec
from cse_operator.api.status import NEVER_OBSERVED, Phase, Status
from cse_operator.api.status_reader import read_status
from cse_operator.api.upgrade_record import READER, Action, Result
from cse_operator.core.decide import Decision, after_call, decide
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.core.fleet import Fleet
from cse_operator.core.member import Member
from cse_operator.core.observation import Desired, Limits, Observation, Owner
from cse_operator.core.permit import ALLOWED, Allowed, Held, permit
from cse_operator.core.policies import Policy, PolicySet, read_policy
from cse_operator.core.views import Accepted, EngineView, JobProgress, JobView

NOW = datetime(2026, 3, 14, 2, 0, 0, tzinfo=UTC)
JOB = 17655
SPEC: dict[str, Any] = {
    "region": "cn-north-4",
    "projectId": "0a1b2c3d4e5f60718293a4b5c6d7e8f9",
    "engineId": "891bf21a-4024-4f47-b38c-bd259ca8f10a",
    "version": "2.4.0",
    "credentialsRef": {"name": "huaweicloud"},
    "suspend": False,
    "upgrade": {"timeout": "2h", "retryLimit": 0, "priority": 0},
}


def engine(
    version: str = "2.3.1",
    status: str = "Available",
    job: int = 12339,
    actions: tuple[str, ...] = (),
) -> EngineView:
    """Return an observed engine."""
    return EngineView(
        engine_id=SPEC["engineId"],
        name="orders",
        type="CSE",
        status=status,
        version=version,
        latest_version="2.4.0",
        latest_job_id=job,
        additional_actions=actions,
        observed_at=NOW,
    )


def job(status: str, message: str | None = None, kind: str = "Upgrade") -> JobView:
    """Return the engine's latest job as observed."""
    ended = status not in {"Init", "Executing"}
    return JobView(
        job_id=JOB,
        engine_id=SPEC["engineId"],
        type=kind,
        status=status,
        started_at=NOW,
        ended_at=NOW + timedelta(minutes=20) if ended else None,
        progress=JobProgress(5, 5, None)
        if status == "Finished"
        else JobProgress(2, 5, "UpgradeNode"),
        message=message,
        observed_at=NOW + timedelta(minutes=20),
    )


def _observed(**changes: Any) -> Observation:
    spec = Spec.model_validate({**SPEC, **changes.pop("spec", {})})
    generation = changes.pop("generation", 3)
    seen = {"engine": engine(), "permit": ALLOWED, **changes}
    return Observation(desired=Desired.of(spec, generation), status=Status(), now=NOW, **seen)


def _intent() -> Observation:
    o = _observed()
    return replace(o, status=decide(o, Limits()).status)


def _running() -> Observation:
    o = _intent()
    decision = after_call(o, Accepted(SPEC["engineId"], "orders", JOB), Limits())
    return replace(o, status=decision.status, engine=engine(status="Upgrading", job=JOB))


def _ended(view: JobView, seen: EngineView, **changes: Any) -> Status:
    return decide(replace(_running(), job=view, engine=seen, **changes), Limits()).status


def _answered(kind: FailureKind, message: str, http: int | None = None, code: str = "") -> Status:
    failure = Failure(kind, message, http_status=http, code=code or None)
    decision: Decision = after_call(_intent(), failure, Limits())
    return decision.status


def _uncertain() -> Status:
    """Return the status after a lost answer, if a job of another type has run since."""
    o = replace(
        _intent(),
        status=_answered(FailureKind.OUTCOME_UNKNOWN, "The answer was cut off"),
        engine=engine(job=JOB),
        job=job("Finished", kind="Modify"),
        jobs=(),
        known_for=9000.0,
    )
    return decide(o, Limits()).status


def _mismatched() -> Status:
    """Return the status long after a job finished and its engine kept the old version."""
    ended = _ended(job("Finished"), engine(job=JOB), ended_for=9000.0, known_for=9000.0)
    o = replace(_running(), status=ended, engine=engine(job=JOB), known_for=9000.0)
    return decide(o, Limits()).status


def _retry_required() -> Status:
    """Return the status after the vendor refused the version, and a foreign upgrade failed."""
    refused = _answered(FailureKind.REJECTED, "The version is not supported", 400)
    record = refused.upgrade
    if record is None:
        raise AssertionError("a refusal is recorded")
    elsewhere = record.model_copy(
        update={
            "action": Action.ADOPTED,
            "wanted_version": "2.5.0",
            "answered_versions": ("2.4.0",),
            "job_id": JOB,
            "result": Result.FAILED,
        }
    )
    o = _observed(engine=engine(job=JOB))
    return decide(
        replace(o, status=refused.model_copy(update={"upgrade": elsewhere})), Limits()
    ).status


def _unreadable() -> Status:
    """Return the status that this build shows for an intent of a newer build."""
    stored = _intent().status.to_json()
    stored["upgrade"]["minReader"] = READER + 1
    return decide(replace(_observed(), status=read_status(stored)), Limits()).status


def _failed(kind: FailureKind, message: str) -> Status:
    o = _observed(engine=None, failure=Failure(kind, message), failures=9)
    return decide(o, Limits()).status


def _unseen(kind: FailureKind, message: str) -> Status:
    """Return the status of a running upgrade whose engine cannot be looked at."""
    o = replace(_running(), job=job("Executing"), failure=Failure(kind, message), failures=9)
    return decide(o, Limits()).status


def _settled(**changes: Any) -> Status:
    return decide(_observed(**changes), Limits()).status


def _policy(**spec: Any) -> Policy:
    return read_policy(
        {
            "kind": POLICY_KIND,
            "metadata": {"name": "production", "namespace": "payments", "uid": "1"},
            "spec": spec,
        }
    )


FROZEN = _policy(
    freezes=[{"from": "2026-03-01T00:00:00Z", "to": "2026-04-01T00:00:00Z", "reason": "month end"}],
    maxConcurrent=2,
)
MANUAL = _policy(approval="Manual")
NEVER_OPEN = _policy(freezes=[{"from": "2026-03-01T00:00:00Z", "to": "2199-01-01T00:00:00Z"}])


def _held(policy: Policy) -> Allowed | Held:
    """Return what a policy says of an upgrade of the engine."""
    member = Member("payments", "orders", frozenset(), SPEC["version"], current="2.3.1", type="CSE")
    return permit(member, Fleet([member], PolicySet((policy,)), NOW))


SCENES: dict[str, Callable[[], Status]] = {
    "pending": lambda: Status(observed_generation=NEVER_OBSERVED, phase=Phase.PENDING),
    "spec-changed": lambda: _settled(generation=2, spec={"version": "2.3.1"}),
    "suspended": lambda: _settled(spec={"suspend": True}),
    "held-by-a-freeze": lambda: _settled(permit=_held(FROZEN)),
    "approval-required": lambda: _settled(permit=_held(MANUAL)),
    "never-opens": lambda: _settled(permit=_held(NEVER_OPEN)),
    "engine-busy": lambda: _settled(engine=engine(status="Modifying")),
    "credentials-not-found": lambda: _failed(
        FailureKind.CREDENTIALS_MISSING, "There is no Secret huaweicloud in the namespace payments"
    ),
    "cloud-unavailable": lambda: _failed(FailureKind.TRANSIENT, "The connection was refused"),
    "upgrading-unseen": lambda: _unseen(FailureKind.TRANSIENT, "The connection was refused"),
    "submitting": lambda: _intent().status,
    "verifying-outcome": lambda: _answered(FailureKind.OUTCOME_UNKNOWN, "The answer was cut off"),
    "upgrading": lambda: decide(replace(_running(), job=job("Executing")), Limits()).status,
    "upgrade-overdue": lambda: (
        decide(replace(_running(), job=job("Executing"), job_age=9000.0), Limits()).status
    ),
    "up-to-date": lambda: _ended(job("Finished"), engine("2.4.0", job=JOB)),
    "already-up-to-date": lambda: _settled(engine=engine("2.4.1")),
    "suspended-at-rest": lambda: _settled(engine=engine("2.4.0"), spec={"suspend": True}),
    "upgrade-failed": lambda: _ended(
        job("Error", "step UpgradeNode failed"), engine(status="UpgradeFailed", job=JOB)
    ),
    "upgrade-timed-out": lambda: _ended(job("Timeout"), engine(status="UpgradeFailed", job=JOB)),
    "upgrade-rejected": lambda: _answered(
        FailureKind.REJECTED, "The version is not supported", 400, "SVCSTG.00501199"
    ),
    "upgrade-forbidden": lambda: _answered(
        FailureKind.FORBIDDEN, "You are not authorized", 403, "APIGW.0302"
    ),
    "version-mismatch": _mismatched,
    "outcome-uncertain": _uncertain,
    "downgrade": lambda: _settled(engine=engine("2.5.0")),
    "engine-not-found": lambda: _failed(FailureKind.NOT_FOUND, "There is no such engine"),
    "look-forbidden": lambda: _failed(FailureKind.FORBIDDEN, "You are not authorized"),
    "engine-frozen": lambda: _settled(engine=engine(status="Freezed")),
    "upgrade-failed-elsewhere": lambda: _settled(
        engine=engine(status="UpgradeFailed", actions=("Retry",))
    ),
    "credentials-refused": lambda: _failed(FailureKind.UNAUTHENTICATED, "decrypt token fail"),
    "other-owner": lambda: _settled(other_owner=Owner("orders-old")),
    "waiting-to-call": lambda: _settled(may_call_in=20.0),
    "observe-only": lambda: _settled(observes_only=True),
    "version-not-comparable": lambda: _settled(engine=engine("2.5.0.SPC100")),
    "retry-required": _retry_required,
    "unreadable-status": _unreadable,
}


SUSPENDED = {"suspended", "suspended-at-rest"}
"""The scenes whose spec is suspended."""


def live(scene: str) -> dict[str, Any]:
    """Return the whole object of a scene, as the API server would show it."""
    spec = {**SPEC, "suspend": scene in SUSPENDED}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {
            "name": "orders",
            "namespace": "payments",
            "uid": "56932d17-dcea-4162-834c-9d80c3a0a7c3",
            "resourceVersion": "4711",
            "generation": 3,
            "creationTimestamp": "2026-03-14T01:59:00Z",
        },
        "spec": spec,
        "status": SCENES[scene]().to_json(),
    }


def render(scene: str) -> str:
    """Return the object of a scene as YAML."""
    return yaml.safe_dump(live(scene), sort_keys=False, allow_unicode=True, width=100)
