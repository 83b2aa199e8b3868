"""Windows and freezes with the whole operator, with a clock that the test moves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import yaml

from support.moved_clock import MovedClock
from support.operator_process import OperatorProcess
from support.policies import policy_manifest
from support.scene import Object, Scene, ready

FLAGS = ("--poll-interval=0.1", "--wait-interval=0.3", "--resync-interval=1")


def held_until(item: Object) -> dict[str, datetime]:
    """Return the end of each hold of an engine."""
    return {h["reason"]: datetime.fromisoformat(h["until"]) for h in item["status"]["held"]}


async def test_a_window_that_opens_and_a_freeze_that_ends_let_an_engine_go_by_the_clock_alone(
    unserved_with_own_vendor: Scene, tmp_path: Path
) -> None:
    scene = unserved_with_own_vendor
    scene.secret()
    midnight = (datetime.now(UTC) + timedelta(days=2)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    two, three, six = (midnight + timedelta(hours=hours) for hours in (2, 3, 6))
    policy = policy_manifest(
        scene.namespace,
        windows=[{"name": "night", "schedule": "0 2 * * *", "duration": "4h"}],
        freezes=[{"from": (two - timedelta(hours=5)).isoformat(), "to": three.isoformat()}],
    )
    scene.kubectl("create", "-f", "-", stdin=yaml.safe_dump(policy))
    first, second = scene.engine("first"), scene.engine("second")
    scene.resource(first)
    clock = MovedClock(tmp_path)
    clock.move_to(two - timedelta(hours=1))
    with OperatorProcess(
        scene.cluster.kubeconfig,
        tmp_path / "log",
        cse_endpoint=scene.simulation.url,
        namespaces=[scene.namespace],
        flags=FLAGS,
        environment=clock.environment,
    ):
        held = await scene.until_reason("first", "ChangeFreeze")
        assert held_until(held) == {"ChangeFreeze": three, "OutsideWindow": three}

        clock.move_to(two + timedelta(minutes=10))
        held = await scene.until("first", lambda item: len(item["status"]["held"]) == 1)
        assert held_until(held) == {"ChangeFreeze": three}
        assert scene.changing_calls() == []

        clock.move_to(three)
        await scene.until_reason("first", "UpToDate")

        clock.move_to(six)
        scene.resource(second)
        held = await scene.until_reason("second", "OutsideWindow")
        assert held_until(held) == {"OutsideWindow": two + timedelta(days=1)}
        assert f"{two + timedelta(days=1):%Y-%m-%dT%H:%M:%SZ}" in ready(held)["message"]
    assert scene.accepted(first) == {"2.4.0": 1}
    assert scene.changing_calls(second) == []
