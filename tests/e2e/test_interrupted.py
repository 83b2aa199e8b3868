"""The operator is killed, stopped or doubled during an upgrade: the vendor still sees one call."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from support.operator_process import OperatorProcess
from support.scene import Scene, ready

Start = Callable[..., OperatorProcess]

IMPATIENT = ("--request-timeout=1", "--send-window=0.5", "--read-lag=0.5", "--outcome-grace=3")
"""The operator waits for an answer for less time than usual."""


def _engine(scene: Scene) -> EngineSummary:
    """Create an engine that can be upgraded, and the Secret for it."""
    scene.secret()
    return scene.engine()


def _time_passes_at_the_vendor(scene: Scene) -> None:
    """Advance the vendor's clock by a minute, as proof to the operator that the grace is over."""
    scene.admin.change_settings(clock_offset_seconds=60)


async def test_an_operator_killed_at_four_points_upgrades_each_engine_once(
    unserved_with_own_vendor: Scene, start_operator: Start
) -> None:
    scene = unserved_with_own_vendor
    scene.secret()
    running, unsent, started, finished = engines = [
        scene.engine(name) for name in ("running", "unsent", "started", "finished")
    ]
    for engine in (running, started, finished):
        scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    for engine in (unsent, started, finished):
        effect = engine is not unsent
        scene.admin.add_fault(
            Fault(operation="Upgrade", engine_id=engine.id, hang=True, after_effect=effect)
        )
    operator = start_operator(scene)
    for engine in engines:
        scene.resource(engine)
    await scene.until_reason("running", "Upgrading")
    for engine in engines:
        await scene.admin.wait_for_async(engine=engine.id)
    operator.kill()
    for name in ("unsent", "started", "finished"):
        assert "jobId" not in scene.get(name)["status"]["upgrade"]
    scene.admin.end_job(scene.admin.engine(running.id).latest_job_id)
    scene.admin.end_job(scene.admin.engine(finished.id).latest_job_id)
    scene.admin.clear_faults()
    operator.restart()

    # These two have their answer, or show its effect: the operator does not call again.
    for engine in (running, finished):
        item = await scene.until_reason(engine.name, "UpToDate")
        assert item["status"]["result"] == "Succeeded"
        assert item["status"]["jobId"] == scene.admin.engine(engine.id).latest_job_id
    item = await scene.until_reason("started", "Upgrading")
    assert item["status"]["jobId"] == scene.admin.engine(started.id).latest_job_id
    scene.admin.end_job(item["status"]["jobId"])
    await scene.until_reason("started", "UpToDate")

    # This one shows no effect: the operator calls again when the first call can no longer arrive.
    item = await scene.until_reason("unsent", "VerifyingOutcome")
    assert "no clear answer" in item["status"]["message"]
    assert len(scene.changing_calls()) == len(engines)
    _time_passes_at_the_vendor(scene)
    item = await scene.until_reason("unsent", "UpToDate")
    assert item["status"]["upgrade"]["attempts"] == 2
    assert [scene.accepted(engine) for engine in engines] == [{"2.4.0": 1}] * len(engines)


async def test_a_lost_answer_is_found_out_without_a_second_call(scene: Scene) -> None:
    engine = _engine(scene)
    scene.admin.add_fault(
        Fault(operation="Upgrade", engine_id=engine.id, reset=True, after_effect=True)
    )
    scene.resource(engine)

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    assert len(scene.changing_calls()) == 1
    assert (await scene.event("orders", "VerifyingOutcome"))["type"] == "Warning"


async def test_a_call_cut_off_before_its_effect_is_made_again_after_the_grace(
    unserved_with_own_vendor: Scene, start_operator: Start
) -> None:
    scene = unserved_with_own_vendor
    engine = _engine(scene)
    scene.admin.add_fault(Fault(operation="Upgrade", engine_id=engine.id, reset=True))
    start_operator(scene)
    scene.resource(engine)
    await scene.until_reason("orders", "VerifyingOutcome")
    assert len(scene.changing_calls()) == 1
    _time_passes_at_the_vendor(scene)

    await scene.until_reason("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}
    assert len(scene.changing_calls()) == 2


async def test_sigterm_in_mid_call_waits_for_the_answer_and_records_it(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    engine = _engine(scene)
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.admin.add_fault(Fault(operation="Upgrade", engine_id=engine.id, delay_answer_ms=60_000))
    operator = start_operator(scene)
    scene.resource(engine)
    await scene.admin.wait_for_async(engine=engine.id, phase="accepted")
    operator.signal(signal.SIGTERM)
    _await_stopping(operator)
    scene.admin.clear_faults()

    assert operator.wait() == 0
    item = scene.get("orders")
    assert ready(item)["reason"] == "Upgrading"
    assert item["status"]["jobId"] == scene.admin.engine(engine.id).latest_job_id


async def test_sigterm_in_a_call_that_is_never_answered_records_that_it_is_unknown(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    engine = _engine(scene)
    scene.admin.add_fault(Fault(operation="Upgrade", engine_id=engine.id, hang=True))
    operator = start_operator(scene, *IMPATIENT)
    scene.resource(engine)
    await scene.admin.wait_for_async(engine=engine.id)

    assert operator.terminate() == 0
    item = scene.get("orders")
    assert ready(item)["reason"] == "VerifyingOutcome"
    assert item["status"]["upgrade"]["attempts"] == 1
    assert len(scene.changing_calls()) == 1


async def test_sigterm_at_rest_ends_at_once_and_the_next_start_changes_nothing(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    engine = _engine(scene)
    operator = start_operator(scene)
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    before = scene.get("orders")
    assert operator.terminate() == 0
    looks = len(scene.calls("ShowEngine", engine=engine.id))
    operator.start()
    operator.wait_until_ready()
    await scene.admin.wait_for_async("ShowEngine", looks + 1, engine=engine.id)
    assert operator.terminate() == 0

    assert scene.get("orders") == before
    assert len(scene.changing_calls()) == 1


async def test_a_restarted_operator_catches_up_with_the_changes_that_it_missed(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    engine = _engine(scene)
    operator = start_operator(scene)
    waiting, other_owner = scene.engine("waiting"), scene.engine("contested")
    scene.resource(waiting, suspend=True)
    scene.resource(other_owner, name="driver", suspend=True)
    await scene.until_reason("waiting", "Suspended")
    await scene.until_reason("driver", "Suspended")
    scene.resource(other_owner, name="contender")
    losers = {"driver", "contender"}
    loser = await _loser(scene, losers)
    operator.kill()

    scene.patch("waiting", suspend=False)
    (winner,) = losers - {loser}
    scene.delete(winner)
    scene.patch(loser, suspend=False)
    scene.resource(engine)
    operator.restart()

    for name in ("waiting", "orders", loser):
        await scene.until_reason(name, "UpToDate")
    for each in (waiting, other_owner, engine):
        assert scene.accepted(each) == {"2.4.0": 1}


async def _loser(scene: Scene, names: set[str]) -> str:
    """Return which of two resources for the same engine got `EngineAlreadyManaged`."""
    items = sorted(
        (scene.get(name) for name in names),
        key=lambda item: (item["metadata"]["creationTimestamp"], item["metadata"]["uid"]),
    )
    younger: str = items[-1]["metadata"]["name"]
    await scene.until_reason(younger, "EngineAlreadyManaged")
    return younger


async def test_two_operators_at_once_make_one_call_for_each_engine(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    scene.secret()
    engines = [scene.engine(f"engine-{number}") for number in range(12)]
    scene.admin.add_fault(
        Fault(operation="Upgrade", project=scene.project, times=None, delay_ms=100)
    )
    start_operator(scene, name="one")
    start_operator(scene, name="other")
    for engine in engines:
        scene.resource(engine)
    for engine in engines:
        item = await scene.until_reason(engine.name, "UpToDate")
        assert item["status"]["result"] == "Succeeded"

    assert [scene.accepted(engine) for engine in engines] == [{"2.4.0": 1}] * len(engines)
    assert len(scene.changing_calls()) == len(engines)
    settled = [scene.get(engine.name) for engine in engines]
    scene.resource(scene.engine("one-more"))
    await scene.until_reason("one-more", "UpToDate")
    assert [scene.get(engine.name) for engine in engines] == settled


async def test_a_standby_takes_over_the_job_of_a_leader_that_was_killed(
    unserved: Scene, start_operator: Start
) -> None:
    scene = unserved
    engine = _engine(scene)
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    election = (
        "--leader-elect",
        "--lease-duration=3",
        f"--lease-namespace={scene.namespace}",
    )
    leader = start_operator(scene, *election, name="leader")
    scene.resource(engine)
    job = (await scene.until_reason("orders", "Upgrading"))["status"]["jobId"]
    start_operator(scene, *election, name="standby")
    leader.kill()
    scene.admin.end_job(job)

    item = await scene.until_reason("orders", "UpToDate")
    assert item["status"]["result"] == "Succeeded"
    assert len(scene.changing_calls()) == 1


def _await_stopping(operator: OperatorProcess) -> None:
    """Wait until the operator's log says that it is stopping."""
    deadline = time.monotonic() + 30
    while "stopping" not in operator.get("/readyz")[1]:
        assert time.monotonic() < deadline, operator.output()
        time.sleep(0.02)
