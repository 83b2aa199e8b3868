"""Faults as a client on the other side of a socket sees them."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import pytest

from cse_simulator.vendor.admin_transport import AdminError
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.seeds import Generation
from cse_simulator.vendor.simulation import start_simulator

BASE = f"/v2/{DEFAULT_PROJECT}/enginemgr/engines"


class Reply:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)


class Wire:
    """Calls to the simulator; each has its own connection unless a test keeps one."""

    def __init__(self, url):
        self._address = urlsplit(url)

    def connection(self):
        return http.client.HTTPConnection(self._address.hostname, self._address.port, timeout=30)

    def call(self, method, target, body=None, connection=None, **headers):
        used = connection or self.connection()
        try:
            sent = {"X-Auth-Token": "t", "Content-Type": "application/json", **headers}
            used.request(method, target, json.dumps(body) if body is not None else None, sent)
            return Reply(used.getresponse())
        finally:
            if connection is None:
                used.close()

    def show(self, engine, **more):
        return self.call("GET", f"{BASE}/{engine.id}", **more)

    def upgrade(self, engine, **more):
        return self.call("PUT", f"{BASE}/{engine.id}/upgrade", {"version": "2.4.0"}, **more)


@pytest.fixture(scope="module")
def simulation():
    with start_simulator(job_seconds=3600) as running:
        yield running


@pytest.fixture
def wire(simulation):
    return Wire(simulation.url)


@pytest.fixture
def engine(admin, request):
    return admin.create_engine(request.node.name)


def outcomes(admin, operation="Upgrade"):
    return [(call.status, call.outcome) for call in admin.calls(operation)]


def test_a_reset_before_the_effect_starts_nothing(admin, wire, engine):
    fault = admin.add_fault(Fault(operation="Upgrade", reset=True))
    with pytest.raises(ConnectionResetError):
        wire.upgrade(engine)
    assert admin.engine(engine.id).status == "Available"
    assert admin.accepted_upgrades() == {}
    assert outcomes(admin) == [(0, "reset")]
    assert admin.calls("Upgrade")[0].fault == fault
    assert wire.upgrade(engine).status == 200


def test_a_reset_after_the_effect_leaves_an_upgrade_running(admin, wire, engine):
    admin.add_fault(Fault(operation="Upgrade", reset=True, after_effect=True))
    with pytest.raises(ConnectionResetError):
        wire.upgrade(engine)
    assert admin.engine(engine.id).status == "Upgrading"
    assert admin.accepted_upgrades() == {(engine.id, "2.4.0"): 1}


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_call_hangs_until_the_faults_are_cleared(admin, wire, engine, after_effect):
    admin.add_fault(Fault(operation="Upgrade", hang=True, after_effect=after_effect))
    failures = []

    def hang():
        try:
            wire.upgrade(engine)
        except ConnectionResetError as reset:
            failures.append(reset)

    thread = threading.Thread(target=hang)
    thread.start()
    admin.wait_for("Upgrade")
    assert outcomes(admin) == [(0, "hung")]
    assert admin.counters()["inFlight"] == 1
    assert admin.engine(engine.id).status == ("Upgrading" if after_effect else "Available")
    admin.clear_faults()
    thread.join()
    assert len(failures) == 1
    assert wire.show(engine).status == 200
    assert admin.counters()["inFlight"] == 0


@pytest.mark.parametrize(
    ("status", "code"), [(502, "0201"), (494, "0201"), (503, "0613"), (429, "0308"), (403, "0302")]
)
def test_a_made_up_status_comes_with_a_gateway_error_and_no_effect(
    admin, wire, engine, status, code
):
    admin.add_fault(Fault(operation="Upgrade", status=status))
    reply = wire.upgrade(engine)
    assert (reply.status, reply.json["error_code"]) == (status, f"APIGW.{code}")
    assert reply.json["request_id"] == reply.headers["X-Request-Id"]
    assert admin.accepted_upgrades() == {}


@pytest.mark.parametrize("status", [401, 429, 504])
def test_a_made_up_status_after_the_effect_hides_a_running_upgrade(admin, wire, engine, status):
    admin.add_fault(Fault(operation="Upgrade", status=status, after_effect=True))
    assert wire.upgrade(engine).status == status
    assert admin.engine(engine.id).status == "Upgrading"


def test_an_answer_may_be_html_or_any_json(admin, wire, engine):
    admin.add_fault(Fault(status=502, body="<html>Bad Gateway</html>"))
    admin.add_fault(Fault(status=400, body={"errorCode": "X"}, headers={"X-Odd": "yes"}))
    html, odd = wire.show(engine), wire.show(engine)
    assert (html.headers["Content-Type"], html.body) == ("text/html", b"<html>Bad Gateway</html>")
    assert (odd.status, odd.json, odd.headers["X-Odd"]) == (400, {"errorCode": "X"}, "yes")


@pytest.mark.parametrize(("retry_after", "expected"), [(None, None), (7, "7"), (0, "0")])
def test_a_throttled_answer_may_say_when_to_come_back(admin, wire, engine, retry_after, expected):
    admin.add_fault(Fault(status=429, retry_after=retry_after))
    reply = wire.show(engine)
    assert (reply.status, reply.json["error_code"]) == (429, "APIGW.0308")
    assert reply.headers["Retry-After"] == expected


def test_a_throttled_answer_may_say_when_to_come_back_as_a_date(admin, wire, engine):
    admin.add_fault(Fault(status=429, retry_after="date+60"))
    reply = wire.show(engine)
    until = parsedate_to_datetime(reply.headers["Retry-After"])
    waiting = (until - parsedate_to_datetime(reply.headers["Date"])).total_seconds()
    assert waiting in {59, 60, 61}


def test_a_truncated_body_ends_before_its_announced_length(admin, wire, engine):
    admin.add_fault(Fault(operation="Upgrade", truncate_at=5))
    with pytest.raises(http.client.IncompleteRead) as cut:
        wire.upgrade(engine)
    assert cut.value.partial == b'{"id"'
    assert outcomes(admin) == [(200, "truncated")]
    assert admin.engine(engine.id).status == "Upgrading"


def test_fields_may_be_missing_or_of_another_type(admin, wire, engine):
    admin.add_fault(Fault(operation="Upgrade", replace={"jobId": "12"}, drop=("name", "none")))
    assert wire.upgrade(engine).json == {"id": engine.id, "jobId": "12"}


def test_fields_of_a_listings_rows_may_be_altered_too(admin, wire, engine):
    admin.generate_engines(Generation(3, prefix=engine.name, project="altered"))
    rules = Fault(
        operation="ListEngines",
        replace={"data.*.version": None, "data.1.status": 7, "data.x.y": 1, "total.z": 1},
        drop=("data.*.name", "data.0"),
    )
    admin.add_fault(rules)
    rows = wire.call("GET", "/v2/altered/enginemgr/engines").json["data"]
    assert [(row["version"], row["status"]) for row in rows] == [(None, 7), (None, "Available")]
    assert all("name" not in row for row in rows)


@pytest.mark.parametrize(("which", "offset"), [("first", 0), ("second", 1)])
def test_a_call_delivered_twice_starts_two_jobs(admin, wire, engine, which, offset):
    admin.add_fault(Fault(operation="Upgrade", deliver_twice=which))
    job = wire.upgrade(engine).json["jobId"]
    assert admin.accepted_upgrades() == {(engine.id, "2.4.0"): 2}
    assert admin.counts()["Upgrade"] == 1
    assert admin.engine(engine.id).latest_job_id == job + 1 - offset


def test_a_call_delivered_twice_may_be_refused_the_second_time(admin, wire, engine):
    admin.add_fault(Fault(operation="Upgrade", deliver_twice="second", forced=False))
    reply = wire.upgrade(engine)
    assert (reply.status, reply.json["error_code"]) == (400, "SVCSTG.00501117")
    assert admin.engine(engine.id).status == "Upgrading"
    assert admin.accepted_upgrades() == {(engine.id, "2.4.0"): 1}


@pytest.mark.parametrize(("reason", "code"), [("expired", "APIGW.0301"), ("revoked", "APIGW.0307")])
def test_a_callers_token_may_become_invalid_at_any_call(admin, wire, engine, reason, code):
    admin.add_fault(Fault(operation="Upgrade", token=reason))
    headers = {"X-Auth-Token": f"token-{reason}"}
    assert wire.show(engine, **headers).status == 200
    assert wire.upgrade(engine, **headers).json["error_code"] == code
    assert wire.show(engine, **headers).json["error_code"] == code
    assert wire.show(engine).status == 200


def begin_upgrade(wire, engine):
    connection = wire.connection()
    body = json.dumps({"version": "2.4.0"})
    headers = {"X-Auth-Token": "t", "Content-Type": "application/json"}
    connection.request("PUT", f"{BASE}/{engine.id}/upgrade", body, headers)
    return connection


def test_a_delayed_call_takes_effect_although_its_caller_went_away(admin, wire, engine):
    admin.add_fault(Fault(operation="Upgrade", delay_ms=600_000))
    connection = begin_upgrade(wire, engine)
    admin.wait_for("Upgrade", phase="received")
    assert admin.engine(engine.id).status == "Available"
    connection.close()
    admin.clear_faults()
    admin.wait_for("Upgrade", phase="accepted", engine=engine.id)
    assert admin.engine(engine.id).status == "Upgrading"


def test_a_delay_ends_by_itself(admin, wire, engine):
    admin.add_fault(Fault(delay_ms=1, delay_answer_ms=1))
    assert wire.show(engine).status == 200


def test_an_answer_may_come_later_than_its_effect(admin, wire, engine):
    admin.add_fault(Fault(operation="Upgrade", delay_answer_ms=600_000))
    connection = begin_upgrade(wire, engine)
    admin.wait_for("Upgrade", phase="accepted")
    assert outcomes(admin) == [(0, "")]
    admin.clear_faults()
    assert connection.getresponse().status == 200
    connection.close()


def test_a_connection_may_be_closed_without_a_word(admin, wire, engine):
    admin.add_fault(Fault(close_unannounced=True))
    connection = wire.connection()
    try:
        reply = wire.show(engine, connection=connection)
        assert (reply.status, reply.headers["Connection"]) == (200, None)
        assert connection.sock.recv(1) == b""
    finally:
        connection.close()


def test_a_connection_is_kept_otherwise(wire, engine):
    connection = wire.connection()
    try:
        wire.show(engine, connection=connection)
        used = connection.sock
        assert wire.show(engine, connection=connection).status == 200
        assert connection.sock is used
    finally:
        connection.close()


def test_rules_show_how_many_calls_they_caught(admin, wire, engine):
    fault = admin.add_fault(Fault(operation="ShowEngine", status=500, times=None))
    assert [wire.show(engine).status for _ in range(3)] == [500] * 3
    assert admin.faults() == {fault: 3}
    admin.clear_faults(fault)
    assert wire.show(engine).status == 200


def test_a_wrong_rule_is_refused_with_the_reason(admin):
    with pytest.raises(AdminError, match="'Explode' is none of"):
        admin._call("POST", "faults", {"operation": "Explode"})


def test_a_foreign_upgrade_is_no_call_but_moves_the_engine(admin, wire, engine):
    job = admin.start_foreign_upgrade(engine.id, "2.4.0")
    shown = wire.show(engine).json
    assert (shown["status"], shown["latestJobId"]) == ("Upgrading", job)
    assert admin.job(job)["createUser"] == "another-person"
    assert "Upgrade" not in admin.counts()
    admin.end_job(job, "timeout")
    assert admin.engine(engine.id).actions == ("Retry",)


@pytest.mark.parametrize("status", ["PreInit", "CreateFail"])
def test_an_engine_shows_the_states_of_the_newer_lists(admin, wire, engine, status):
    admin.patch_engine(engine.id, status=status)
    assert wire.show(engine).json["status"] == status
    assert wire.upgrade(engine).json["error_code"] == "SVCSTG.00501117"


def test_a_foreign_upgrade_may_be_anybodys(admin, wire, engine):
    job = admin.start_foreign_upgrade(engine.id, "2.4.0", user="somebody")
    assert admin.job(job)["createUser"] == "somebody"


def test_an_engine_changes_and_goes_as_the_administrator_says(admin, wire, engine):
    changed = admin.patch_engine(
        engine.id, version="2.3.7", latest_version="2.5.0", status="Freezed", actions=["Noting"]
    )
    assert (changed.version, changed.latest_version, changed.status) == (
        "2.3.7",
        "2.5.0",
        "Freezed",
    )
    assert wire.show(engine).json["version"] == "2.3.7"
    admin.delete_engine(engine.id)
    assert wire.show(engine).json["error_code"] == "SVCSTG.00501116"
    with pytest.raises(AdminError, match="there is no engine"):
        admin.engine(engine.id)
    with pytest.raises(AdminError, match="there is no job 1"):
        admin.end_job(1)


def test_a_planned_job_vanishes(admin, wire, engine):
    admin.plan_jobs(JobPlan(vanish_after_seconds=0), engine.id)
    job = wire.upgrade(engine).json["jobId"]
    reply = wire.call("GET", f"{BASE}/{engine.id}/jobs/{job}")
    assert (reply.status, reply.json["error_code"]) == (400, "SVCSTG.00501153")
    admin.end_job(job)
    assert wire.show(engine).json["version"] == "2.4.0"


def test_settings_change_while_it_runs(admin, wire, engine):
    before = admin.change_settings()
    admin.change_settings(missing_engine_status=401, clock_offset_seconds=3600.0)
    try:
        reply = wire.call("GET", f"{BASE}/none")
        assert (reply.status, reply.json["error_code"]) == (401, "SVCSTG.00501116")
        told = parsedate_to_datetime(reply.headers["Date"]).timestamp()
        assert told == pytest.approx(admin.calls("ShowEngine")[-1].time, abs=2)
    finally:
        admin.change_settings(missing_engine_status=400, clock_offset_seconds=0)
    assert admin.change_settings() == before


def test_tokens_are_made_invalid_by_the_administrator(admin, wire, engine):
    admin.refuse_tokens(token="leaked")
    assert wire.show(engine, **{"X-Auth-Token": "leaked"}).json["error_code"] == "APIGW.0307"


def test_waiting_in_vain_is_a_timeout_that_says_what_came(admin, wire, engine):
    wire.upgrade(engine)
    with pytest.raises(TimeoutError, match="1 of 2 Upgrade calls handled"):
        admin.wait_for("Upgrade", 2, timeout=0.01)
    with pytest.raises(TimeoutError, match="0 of 1"):
        admin.wait_for("Upgrade", status=500, timeout=0)
    with pytest.raises(AdminError, match="phase"):
        admin.wait_for("Upgrade", phase="dreamt")


async def test_waiting_leaves_the_event_loop_free(admin, wire, engine):
    waiting = asyncio.create_task(admin.wait_for_async("Upgrade", engine=engine.id))
    while not waiting.done():
        if admin.counts().get("Upgrade") is None:
            await asyncio.to_thread(wire.upgrade, engine)
        await asyncio.wait({waiting}, timeout=0.01)
    assert waiting.result() == 1


def test_an_unknown_admin_call_is_refused(admin):
    with pytest.raises(AdminError, match="no such admin call"):
        admin._call("GET", "nothing")
