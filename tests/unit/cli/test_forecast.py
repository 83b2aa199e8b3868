"""A forecast is the operator's own decision, reported and not carried out."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml

from cse_operator.api.failure_kind import FailureKind
from cse_operator.api.names import APPROVED_VERSION, RETRY_REQUESTED_AT
from cse_operator.api.reason_facts import FACTS
from cse_operator.api.reasons import ConditionType, Reason
from cse_operator.api.status import Phase, Status
from cse_operator.cli.manifests import read_text
from cse_operator.cli.planning.forecast import Forecaster, _kind_of
from cse_operator.cli.planning.verdict import Kind, Verdict
from cse_operator.cli.planning.world import World
from cse_operator.cloud.errors import CloudError
from cse_operator.core.policies import Policy, PolicySet, read_policy
from cse_operator.core.status import phase_of
from cse_operator.core.views import EngineView, JobView
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.settings import Settings
from support.engines import engine_manifest
from support.fake_vendor import engine_view, failure, job_view
from support.resources import Object, deleting, stored

KEY = "payments/orders"
SEEN: Object = {
    "observedGeneration": 1,
    "phase": "UpToDate",
    "currentVersion": "2.3.1",
    "latestVersion": "2.4.0",
    "engine": {"name": "orders", "type": "CSE", "status": "Available"},
}


class Looks:
    """A reader that returns given answers, and records its requests."""

    def __init__(
        self, engine: EngineView | Exception, job: JobView | Exception | None = None
    ) -> None:
        self.engine, self.job = engine, job
        self.asked: list[str] = []

    async def show_engine(self, engine_id: str) -> EngineView:
        self.asked.append("engine")
        if isinstance(self.engine, Exception):
            raise self.engine
        return self.engine

    async def show_job(self, engine_id: str, job_id: int) -> JobView:
        self.asked.append(f"job {job_id}")
        if self.job is None:
            raise CloudError(failure(FailureKind.NOT_FOUND))
        if isinstance(self.job, Exception):
            raise self.job
        return self.job

    async def list_jobs(self, engine_id: str) -> tuple[JobView, ...]:
        self.asked.append("jobs")
        return ()


async def foretold(
    there: Object | None,
    looks: Looks | Exception | None = None,
    *,
    others: tuple[Object, ...] = (),
    own_secrets: bool = True,
    annotations: dict[str, str] | None = None,
    assumed: str | None = None,
    policies: tuple[Policy, ...] = (),
    unknown: str | None = None,
    settings: Settings | None = None,
    **spec: Any,
) -> Verdict:
    """Return the forecast for the resource `orders` after an apply of its manifest."""
    ownership = Ownership(grace=35.0)
    world = World(Cache(ownership, lambda region: region), ownership)
    world.take_in([*([there] if there else []), *others])
    world.policies = PolicySet(policies, unknown=unknown)
    manifest = engine_manifest("orders", namespace="payments", **spec)
    if annotations:
        manifest["metadata"]["annotations"] = annotations
    [read] = read_text(yaml.safe_dump(manifest))
    world.apply(KEY, read, {})

    async def reader_of(_: object) -> Any:
        if isinstance(looks, Exception):
            raise looks
        return looks

    reader = reader_of if looks is not None else None
    forecaster = Forecaster(world, settings or Settings(), reader, own_secrets=own_secrets)
    return await forecaster.verdict(KEY, assumed)


def upgrade(**changes: Any) -> Object:
    usual = {
        "action": "Upgrade",
        "wantedVersion": "2.4.0",
        "fromVersion": "2.3.1",
        "targetVersion": "2.4.0",
        "requestedAt": "2025-06-01T12:00:00Z",
        "baselineAt": "2025-06-01T12:00:00Z",
        "baselineJobId": 100,
    }
    return {**usual, **changes}


# --- from the status alone ------------------------------------------------------------------------


async def test_what_the_operator_saw_last_is_enough_to_tell_of_an_upgrade():
    told = await foretold(stored(status=SEEN, version="2.3.1"))
    assert (told.kind, told.from_version, told.to_version) == (Kind.UPGRADE, "2.3.1", "2.4.0")
    assert not told.will_be_refused


def policy(name: str = "nights", **spec: Any) -> Policy:
    metadata = {"name": name, "namespace": "payments", "uid": name, "generation": 1}
    return read_policy({"kind": "UpgradePolicy", "metadata": metadata, "spec": spec})


async def test_a_policy_holds_it_with_the_reason_that_the_operator_gives():
    due = stored(status=SEEN, version="2.3.1")
    told = await foretold(due, policies=(policy(suspend=True),))
    assert (told.kind, told.reason) == (Kind.HELD, Reason.POLICY_SUSPENDED)
    assert told.holds[0].by == "UpgradePolicy nights"
    at_rest = stored(status={**SEEN, "currentVersion": "2.4.0"})
    assert (await foretold(at_rest, policies=(policy(suspend=True),))).kind is Kind.NOTHING


async def test_an_approval_in_the_manifest_lets_it_go():
    due, manual = stored(status=SEEN, version="2.3.1"), policy(approval="Manual")
    assert (await foretold(due, policies=(manual,))).reason == Reason.APPROVAL_REQUIRED
    approved = {APPROVED_VERSION: "2.4.0"}
    told = await foretold(due, policies=(manual,), annotations=approved)
    assert told.kind is Kind.UPGRADE


async def test_policies_that_cannot_be_read_hold_everything():
    due = stored(status=SEEN, version="2.3.1")
    told = await foretold(due, unknown="forbidden")
    assert (told.kind, told.reason) == (Kind.HELD, Reason.POLICIES_UNKNOWN)


async def test_where_the_operator_only_observes_nothing_is_called():
    ready = {"type": "Ready", "status": "False", "reason": "ObserveOnly", "message": "x"}
    other = stored("other", engineId="other", status={"conditions": [ready]})
    told = await foretold(stored(status=SEEN, version="2.3.1"), others=(other,))
    assert (told.kind, told.reason) == (Kind.HELD, Reason.OBSERVE_ONLY)
    assert told.holds[0].by == "the operator's --observe-only"


@pytest.mark.parametrize("there", [None, stored()])
async def test_an_engine_that_nobody_has_seen_is_unknown_and_not_assumed(there):
    told = await foretold(there)
    assert told.kind is Kind.UNKNOWN
    assert "--ask-vendor" in told.sentence


async def test_with_a_revision_before_it_is_taken_to_be_there():
    assert (await foretold(None, assumed="2.3.1")).kind is Kind.UPGRADE
    assert (await foretold(None, assumed="2.4.0")).kind is Kind.NOTHING
    assert (await foretold(None, assumed="2.5.0")).kind is Kind.REFUSED


async def test_an_upgrade_under_way_is_followed_and_the_next_version_comes_after_it():
    running = {**SEEN, "phase": "Upgrading", "message": "it runs", "upgrade": upgrade(jobId=101)}
    told = await foretold(stored(status=running), version="2.5.0")
    assert told.kind is Kind.UPGRADING
    assert told.sentence == "it runs; it is followed to its end, and 2.5.0 is decided on after it"


@pytest.mark.parametrize(
    ("seen", "kind"),
    [
        (engine_view(version="2.4.0", latest_job_id=101), Kind.NOTHING),
        (engine_view(status="UpgradeFailed", latest_job_id=101), Kind.REFUSED),
    ],
)
async def test_a_job_that_the_vendor_does_not_know_is_not_said_to_run(seen, kind):
    running = {**SEEN, "phase": "Upgrading", "upgrade": upgrade(jobId=101)}
    told = await foretold(stored(status=running), Looks(seen))
    assert told.kind is kind


FAILED: Object = {**SEEN, "engine": {**SEEN["engine"], "status": "UpgradeFailed"}}


@pytest.mark.parametrize(("due", "asked"), [(True, {}), (None, {RETRY_REQUESTED_AT: "once"})])
async def test_whether_a_failed_upgrade_is_tried_again_is_unknown_until_the_vendor_is_asked(
    due, asked
):
    ended = upgrade(jobId=101, ownJob=True, result="Failed", retryDue=due)
    there = stored(status={**FAILED, "upgrade": ended})
    told = await foretold(there, annotations=asked)
    assert (told.kind, told.reason) == (Kind.UNKNOWN, "NotSeen")
    assert "--ask-vendor looks whether Retry is offered" in told.sentence
    offers = {"status": "UpgradeFailed", "latest_job_id": 101, "additional_actions": ("Retry",)}
    told = await foretold(there, Looks(engine_view(**offers)), annotations=asked)
    assert (told.kind, told.reason) == (Kind.UPGRADE, Reason.SUBMITTING)


async def test_a_failed_upgrade_that_nobody_tries_again_needs_a_person_whatever_is_offered():
    ended = upgrade(jobId=101, ownJob=True, result="Failed")
    told = await foretold(stored(status={**FAILED, "upgrade": ended}))
    assert (told.kind, told.reason) == (Kind.REFUSED, Reason.UPGRADE_FAILED)


async def test_what_is_being_deleted_is_unknown():
    told = await foretold(deleting(stored(status=SEEN, version="2.3.1")))
    assert (told.kind, told.reason) == (Kind.UNKNOWN, "Deleting")


async def test_a_record_of_another_build_is_refused():
    newer = {**SEEN, "upgrade": upgrade(action="Rollback")}
    told = await foretold(stored(status=newer, version="2.3.1"))
    assert (told.kind, told.reason) == (Kind.REFUSED, Reason.UNREADABLE_STATUS)


# --- with a look at the vendor --------------------------------------------------------------------


async def test_the_engine_counts_and_not_what_was_written_of_it():
    looks = Looks(engine_view(version="2.4.0"))
    told = await foretold(stored(status=SEEN, version="2.3.1"), looks)
    assert told.kind is Kind.NOTHING
    assert looks.asked == ["engine"]


async def test_a_job_that_failed_meanwhile_is_seen():
    running = {**SEEN, "upgrade": upgrade(jobId=101, ownJob=True)}
    looks = Looks(
        engine_view(status="UpgradeFailed", latest_job_id=101, additional_actions=("Retry",)),
        job_view(status="Error", ended_at=None),
    )
    again = await foretold(stored(status=running), looks)
    assert again.kind is Kind.UPGRADE
    assert "Retry" in again.sentence
    none_left = {"timeout": "2h", "retryLimit": 0}
    told = await foretold(stored(status=running, upgrade=none_left), looks, upgrade=none_left)
    assert (told.kind, told.reason) == (Kind.REFUSED, Reason.UPGRADE_FAILED)


async def test_an_intent_without_an_answer_is_looked_into_as_the_operator_would():
    intent = {**SEEN, "upgrade": upgrade()}
    looks = Looks(engine_view(status="Upgrading", latest_job_id=101), job_view())
    told = await foretold(stored(status=intent), looks)
    assert told.kind is Kind.UPGRADING
    assert "job 101" in looks.asked


async def test_a_version_that_is_not_offered_is_called_and_will_be_refused():
    told = await foretold(stored(status=SEEN, version="2.3.1"), version="9.9.9")
    assert (told.kind, told.will_be_refused) == (Kind.UPGRADE, True)
    assert told.warnings[0].startswith("the vendor offers 2.4.0 and no other version")


@pytest.mark.parametrize(
    ("kind", "reason", "verdict"),
    [
        (FailureKind.NOT_FOUND, Reason.ENGINE_NOT_FOUND, Kind.REFUSED),
        (FailureKind.UNAUTHENTICATED, Reason.CREDENTIALS_REFUSED, Kind.REFUSED),
        (FailureKind.FORBIDDEN, Reason.PERMISSION_DENIED, Kind.REFUSED),
    ],
)
async def test_a_failure_with_the_resources_own_secret_counts_for_the_operator(
    kind, reason, verdict
):
    looks = Looks(CloudError(failure(kind)))
    told = await foretold(stored(status=SEEN, version="2.3.1"), looks)
    assert (told.kind, told.reason) == (verdict, reason)
    with_another_key = await foretold(
        stored(status=SEEN, version="2.3.1"), looks, own_secrets=False
    )
    assert with_another_key.kind is Kind.UNKNOWN


async def test_a_secret_that_is_missing_holds_it():
    missing = CloudError(failure(FailureKind.CREDENTIALS_MISSING))
    told = await foretold(stored(status=SEEN, version="2.3.1"), missing)
    assert (told.kind, told.holds[0].by) == (Kind.HELD, "its Secret")


async def test_a_vendor_that_does_not_answer_makes_it_unknown():
    looks = Looks(CloudError(failure(FailureKind.TRANSIENT)))
    assert (await foretold(stored(status=SEEN, version="2.3.1"), looks)).kind is Kind.UNKNOWN


# --- the operator's settings ----------------------------------------------------------------------

ELSEWHERE = Settings(allowed_regions=("cn-east-3",))


@pytest.mark.parametrize("looks", [None, Looks(engine_view(version="2.3.1"))])
@pytest.mark.parametrize("own_secrets", [True, False])
async def test_a_region_that_the_operator_does_not_allow_is_refused_with_its_words(
    looks, own_secrets
):
    due = stored(status=SEEN, version="2.3.1")
    told = await foretold(due, looks, own_secrets=own_secrets, settings=ELSEWHERE)
    assert (told.kind, told.reason) == (Kind.REFUSED, Reason.REGION_NOT_ALLOWED)
    assert "does not allow the region cn-north-4 (allowed: cn-east-3)" in told.sentence
    new = await foretold(None, assumed="2.3.1", settings=ELSEWHERE)
    assert new.reason == Reason.REGION_NOT_ALLOWED


async def test_an_upgrade_under_way_in_a_region_that_is_no_longer_allowed_is_followed():
    running = {**SEEN, "phase": "Upgrading", "message": "it runs", "upgrade": upgrade(jobId=101)}
    told = await foretold(stored(status=running), Looks(engine_view()), settings=ELSEWHERE)
    assert (told.kind, told.sentence) == (Kind.UPGRADING, "it runs; it is followed to its end")


# --- ownership ------------------------------------------------------------------------------------


async def test_an_older_resource_that_has_seen_the_engine_owns_it():
    owner = stored("first", created="2024-01-01T00:00:00Z", status=SEEN, version="2.3.1")
    told = await foretold(None, Looks(engine_view()), others=(owner,))
    assert (told.kind, told.reason) == (Kind.NOT_OWNER, Reason.ENGINE_ALREADY_MANAGED)
    assert "first" in told.sentence


# --- all reasons ----------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_verdict_that_goes_with_its_condition(reason):
    kind = _kind_of(reason, Status(phase=phase_of(reason)))
    condition = FACTS[reason].condition
    if reason is Reason.ENGINE_ALREADY_MANAGED:
        assert kind is Kind.NOT_OWNER
    elif condition is ConditionType.READY:
        assert kind is Kind.NOTHING
    elif condition is ConditionType.STALLED:
        assert kind is Kind.REFUSED
    else:
        moves = phase_of(reason) in {Phase.SUBMITTING, Phase.UPGRADING}
        assert kind is (Kind.UPGRADING if moves else Kind.HELD)


async def test_a_verdict_says_all_of_it_to_programs():
    told = await foretold(stored(status=SEEN, version="2.3.1"))
    found = json.loads(json.dumps(told.to_json()))
    assert (found["verdict"], found["from"], found["to"]) == ("upgrade", "2.3.1", "2.4.0")
