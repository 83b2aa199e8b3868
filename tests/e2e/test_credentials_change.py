"""Credentials that end while a job runs: the result arrives, and no access key is locked.

More than five failures in a row lock an access key for five minutes (Huawei Cloud, API Request
Signing Guide, Error Codes). The simulator does the same, so an operator that kept trying a
refused key would not see the end of its job.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import start_simulator
from support.operator_process import OperatorProcess
from support.scene import Scene, condition_types

MOST_REFUSALS = 4
"""Refusals in a row of one credential: one below the fifth, after which the next one locks it."""
OF_ONE_SECRET = MOST_REFUSALS - 1
"""Refusals in 15 minutes of a secret that was refused before: one is left for a new secret."""

ALICE = {"username": "alice", "password": "canary-password-1", "domainName": "acme"}
KEY = {"accessKey": "AKFIRST", "secretKey": "canary-secret-1"}
TOKEN = {"token": "canary-token-1"}

ATTENTIVE = "--resync-interval=1"
"""The operator caches a Secret for at most this time; otherwise for half a minute."""

StartOperator = Callable[..., OperatorProcess]


def accepted_by_the_vendor(*secrets: dict[str, str]) -> dict[str, Any]:
    """Return these credentials in the form of the simulator's settings."""
    return {
        "tokens": {s["token"]: "" for s in secrets if "token" in s},
        "users": [
            {"name": s["username"], "password": s["password"], "domain": s["domainName"]}
            for s in secrets
            if "username" in s
        ],
        "access_keys": {s["accessKey"]: s["secretKey"] for s in secrets if "accessKey" in s},
        "security_tokens": {
            s["accessKey"]: s["securityToken"] for s in secrets if "securityToken" in s
        },
    }


@pytest.fixture
def scene(control_plane: Cluster, namespace: str) -> Iterator[Scene]:
    """A namespace without an operator, and a vendor that accepts known credentials only."""
    with start_simulator(job_seconds=0.5) as simulation:
        yield Scene(control_plane, namespace, simulation)


async def begin_upgrade(scene: Scene, start: StartOperator, *flags: str, **secret: str) -> int:
    """Start an upgrade that runs until it is told to end; return its job."""
    scene.admin.accept_only(**accepted_by_the_vendor(secret))
    engine = scene.engine()
    scene.admin.plan_jobs(JobPlan(outcome="never"), engine.id)
    scene.secret(**secret)
    scene.resource(engine)
    start(scene, *flags)
    item = await scene.until_reason("orders", "Upgrading")
    return int(item["status"]["jobId"])


async def assert_its_result_arrives(scene: Scene, job: int) -> None:
    """End the job; assert that it was the only one and no credential was refused too often."""
    scene.admin.end_job(job)
    item = await scene.until_reason("orders", "UpToDate")
    assert condition_types(item) == {"Ready": "True"}
    assert (item["status"]["jobId"], item["status"]["result"]) == (job, "Succeeded")
    assert [call.operation for call in scene.changing_calls()] == ["Upgrade"]
    for fared in scene.admin.authentications().values():
        assert fared.most_refused_in_a_row <= MOST_REFUSALS, fared


@pytest.mark.parametrize("reason", ["expired", "revoked"])
async def test_a_token_that_ends_during_a_job_is_replaced(
    scene: Scene, start_operator: StartOperator, reason: Any
) -> None:
    job = await begin_upgrade(scene, start_operator, **ALICE)
    scene.admin.refuse_tokens(reason)
    await scene.admin.wait_for_async("ShowEngineJob", status=401)
    await scene.admin.wait_for_async("IssueToken", 2, status=201)

    await assert_its_result_arrives(scene, job)
    fared = scene.admin.authentications()["user alice"]
    assert (fared.refused, scene.admin.counts()["IssueToken"]) == (1, 2)


async def test_tokens_that_end_early_are_bought_one_at_a_time(
    scene: Scene, start_operator: StartOperator
) -> None:
    job = await begin_upgrade(scene, start_operator, **ALICE)
    scene.admin.change_settings(token_lifetime_seconds=1)
    scene.admin.refuse_tokens("expired")
    await scene.admin.wait_for_async("IssueToken", 4, status=201)

    await assert_its_result_arrives(scene, job)
    assert scene.admin.authentications()["user alice"].most_refused_in_a_row == 1


async def test_a_ready_made_token_that_is_revoked_waits_for_the_next_one(
    scene: Scene, start_operator: StartOperator
) -> None:
    job = await begin_upgrade(scene, start_operator, ATTENTIVE, **TOKEN)
    scene.admin.refuse_tokens("revoked")
    item = await scene.until_reason("orders", "CredentialsRefused")
    assert item["status"]["upgrade"]["jobId"] == job

    renewed = {"token": "canary-token-2"}
    scene.admin.accept_only(**accepted_by_the_vendor(renewed))
    scene.change_secret(**renewed)
    await scene.until_reason("orders", "Upgrading")
    await assert_its_result_arrives(scene, job)


async def test_a_job_outlives_rotations_from_one_kind_of_credentials_to_another(
    scene: Scene, start_operator: StartOperator
) -> None:
    job = await begin_upgrade(scene, start_operator, ATTENTIVE, **KEY)
    rotations: list[tuple[str, dict[str, str]]] = [
        ("key AKSECOND", {"accessKey": "AKSECOND", "secretKey": "canary-secret-2"}),
        ("user alice", ALICE),
        (
            "key AKTHIRD",
            {
                "accessKey": "AKTHIRD",
                "secretKey": "canary-secret-3",
                "securityToken": "canary-security-token",
            },
        ),
    ]
    for credential, secret in rotations:
        scene.change_secret(**secret)
        scene.admin.accept_only(**accepted_by_the_vendor(secret))
        await scene.admin.wait_for_authentication_async(credential)

    await assert_its_result_arrives(scene, job)
    assert scene.admin.authentications()[rotations[-1][0]].refused == 0


class Rotation(NamedTuple):
    """Credentials that are replaced, first by mistyped ones."""

    before: dict[str, str]
    mistyped: dict[str, str]
    right: dict[str, str]
    credential: str
    refusals: int
    """Refusals of that credential until the mistyped values were tried."""


@pytest.mark.parametrize(
    "rotation",
    [
        Rotation(
            before=KEY,
            mistyped={"accessKey": "AKSECOND", "secretKey": "canary-mistyped"},
            right={"accessKey": "AKSECOND", "secretKey": "canary-secret-2"},
            credential="key AKSECOND",
            refusals=1,
        ),
        Rotation(
            before=ALICE,
            mistyped={**ALICE, "password": "canary-mistyped"},
            right={**ALICE, "password": "canary-password-2"},
            credential="user alice",
            refusals=3,  # the old token, the old password, the mistyped password
        ),
    ],
    ids=["key", "password"],
)
async def test_a_rotation_with_a_mistyped_value_waits_for_the_right_one(
    scene: Scene, start_operator: StartOperator, rotation: Rotation
) -> None:
    job = await begin_upgrade(scene, start_operator, ATTENTIVE, **rotation.before)
    scene.change_secret(**rotation.mistyped)
    scene.admin.accept_only(**accepted_by_the_vendor(rotation.right))
    refused = scene.admin.wait_for_authentication_async
    await refused(rotation.credential, "refused", rotation.refusals)
    item = await scene.until_reason("orders", "CredentialsRefused")
    assert condition_types(item) == {"Ready": "False", "Stalled": "True"}
    assert "put working credentials into the Secret" in item["status"]["message"]
    assert "canary" not in str(item)
    assert item["status"]["upgrade"]["jobId"] == job

    scene.change_secret(**rotation.right)
    await scene.until_reason("orders", "Upgrading")
    await assert_its_result_arrives(scene, job)


async def test_a_wrong_key_is_not_locked_even_with_the_shortest_intervals(
    scene: Scene, start_operator: StartOperator
) -> None:
    flags = (ATTENTIVE, "--credentials-cooldown=0.1")
    job = await begin_upgrade(scene, start_operator, *flags, **KEY)
    changed = {**KEY, "secretKey": "canary-secret-2"}
    scene.admin.accept_only(**accepted_by_the_vendor(changed))
    await scene.admin.wait_for_authentication_async("key AKFIRST", "refused", OF_ONE_SECRET)
    await scene.until_reason("orders", "CredentialsRefused")

    scene.change_secret(**changed)
    await scene.until_reason("orders", "Upgrading")
    await assert_its_result_arrives(scene, job)
    assert scene.admin.authentications()["key AKFIRST"].refused == OF_ONE_SECRET
