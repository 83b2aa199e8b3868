"""The simulator's record of the calls that it received."""

from __future__ import annotations

import asyncio
import json

import pytest

SECRET_HEADERS = {
    "X-Auth-Token": "secret-token",
    "Authorization": "SDK-HMAC-SHA256 Access=a, SignedHeaders=b, Signature=secret-signature",
    "X-Security-Token": "secret-security-token",
    "User-Agent": "tests",
}


def kept(v):
    return [record.to_json() for record in v.simulator.recorder.calls(None, None, 0)]


def test_a_call_is_kept_with_all_that_can_be_asked_about_it(vendor):
    v = vendor()
    engine = v.engine()
    v.upgrade(engine)
    [record] = kept(v)
    assert record["operation"] == "Upgrade"
    assert record["method"] == "PUT"
    assert record["path"] == f"{v.engines}/{engine.id}/upgrade"
    assert record["engineId"] == engine.id
    assert record["body"] == {"version": "2.4.0"}
    assert (record["status"], record["outcome"], record["number"]) == (200, "answered", 1)
    assert record["time"] == v.clock.now()


@pytest.mark.parametrize("record_credentials", ["present", "sha256"])
def test_no_credential_is_kept(vendor, record_credentials):
    v = vendor(record_credentials=record_credentials)
    v.call("GET", v.engines, headers=SECRET_HEADERS)
    user = {"name": "bot", "password": "secret-password", "domain": {"name": "d"}}
    good = {"auth": {"identity": {"password": {"user": user}}, "scope": {"project": {"id": "p"}}}}
    v.call("POST", "/v3/auth/tokens", good, headers={})
    v.call("POST", "/v3/auth/tokens", {"password": "secret-password"}, headers={})
    text = repr([record.call for record in v.simulator.recorder.calls(None, None, 0)])
    assert "secret" not in text + json.dumps(kept(v))
    headers = kept(v)[0]["headers"]
    assert headers["user-agent"] == "tests"
    assert headers["x-auth-token"].startswith("present")


def test_the_same_credential_has_the_same_hash_and_another_has_not(vendor):
    v = vendor(record_credentials="sha256")
    for token in ("one", "one", "two"):
        v.call("GET", v.engines, headers={"X-Auth-Token": token})
    first, second, third = (record["headers"]["x-auth-token"] for record in kept(v))
    assert first == second != third


def test_counters_outlive_the_calls_that_are_kept(vendor):
    v = vendor(record_calls=3)
    for _ in range(5):
        v.list()
    assert [record["number"] for record in kept(v)] == [3, 4, 5]
    assert v.simulator.recorder.counts()["received"] == {"ListEngines": 5}


def test_calls_are_found_by_operation_engine_and_number(vendor):
    v = vendor()
    one, other = v.engine("one"), v.engine("other")
    v.show(one)
    v.show(other)
    v.upgrade(one)
    recorder = v.simulator.recorder

    def numbers(*wanted):
        return [record.number for record in recorder.calls(*wanted)]

    assert numbers("ShowEngine", None, 0) == [1, 2]
    assert numbers(None, one.id, 0) == [1, 3]
    assert numbers("ShowEngine", other.id, 0) == [2]
    assert numbers(None, None, 2) == [3]


def test_upgrades_are_counted_per_engine_and_target_only_when_they_take_effect(vendor):
    v = vendor(job_seconds=1)
    one, other = v.engine("one"), v.engine("other")
    v.upgrade(one)
    v.upgrade(one)
    v.upgrade(other, "9.9.9")
    recorder = v.simulator.recorder
    assert recorder.accepted == {(one.id, "2.4.0"): 1}
    assert recorder.count("received", "Upgrade", one.id, 0) == 2
    assert recorder.count("handled", "Upgrade", one.id, 400) == 1
    assert recorder.count("handled", "Upgrade", "", 0) == 3
    assert recorder.count("accepted", "Upgrade", other.id, 0) == 0
    assert recorder.counts()["statuses"] == {"Upgrade": {"200": 1, "400": 2}}


def test_a_reset_forgets_counts_and_calls_but_not_the_numbering(vendor):
    v = vendor()
    v.list()
    v.simulator.recorder.reset()
    assert kept(v) == []
    assert v.simulator.recorder.counts()["received"] == {}
    v.list()
    assert kept(v)[0]["number"] == 2


async def test_waiting_ends_with_the_call_that_was_waited_for(vendor):
    v = vendor()
    recorder = v.simulator.recorder
    waiting = asyncio.create_task(
        recorder.wait(lambda: recorder.count("handled", "ListEngines", "", 0) >= 2, 60)
    )
    await asyncio.sleep(0)
    v.list()
    await asyncio.sleep(0)
    assert not waiting.done()
    v.list()
    assert await waiting is True


async def test_waiting_for_what_was_there_before_ends_at_once(vendor):
    v = vendor()
    v.list()
    recorder = v.simulator.recorder
    assert await recorder.wait(lambda: recorder.received["ListEngines", ""] == 1, 0)


async def test_waiting_in_vain_ends_with_its_timeout(vendor):
    assert await vendor().simulator.recorder.wait(lambda: False, 0.001) is False
