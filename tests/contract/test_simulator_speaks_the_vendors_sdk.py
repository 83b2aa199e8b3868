"""The vendor's own SDK reads the simulator's answers: they fit the SDK's models."""

from __future__ import annotations

import json
import re
import time
import urllib.request
from typing import Any

import pytest
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.http.http_config import HttpConfig
from huaweicloudsdkcse import v1 as sdk

from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.seeds import Generation
from cse_simulator.vendor.simulation import start_simulator

# The SDK's signer calls datetime.utcnow, which is deprecated since Python 3.12.
pytestmark = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utcnow:DeprecationWarning:huaweicloudsdkcore"
)

KEY, SECRET = "AKSIMULATED", "sk-simulated"


@pytest.fixture(scope="module")
def simulation():
    with start_simulator("--access-key", f"{KEY}:{SECRET}", job_seconds=3600) as running:
        yield running


@pytest.fixture
def connect(simulation, monkeypatch):
    """Make an SDK client with the given credentials."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    clients = []

    def make(key=KEY, secret=SECRET, project=DEFAULT_PROJECT, security_token=None, url=None):
        credentials = BasicCredentials(key, secret, project)
        if security_token:
            credentials.with_security_token(security_token)
        client = (
            sdk.CseClient.new_builder()
            .with_http_config(HttpConfig(timeout=(5, 20)))
            .with_credentials(credentials)
            .with_endpoint(url or simulation.url)
            .build()
        )
        clients.append(client)
        return client

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def client(connect):
    return connect()


def upgrade(client, engine_id, version="2.4.0"):
    body = sdk.EngineUpdateReq(version=version)
    return client.upgrade_engine(sdk.UpgradeEngineRequest(engine_id=engine_id, body=body))


def retry(client, engine_id):
    body = sdk.EngineAdditionalActionReq(action="Retry")
    return client.retry_engine(sdk.RetryEngineRequest(engine_id=engine_id, body=body))


def show(client, engine_id):
    return client.show_engine(sdk.ShowEngineRequest(engine_id=engine_id))


def show_job(client, engine_id, job_id):
    return client.show_engine_job(sdk.ShowEngineJobRequest(engine_id=engine_id, job_id=str(job_id)))


def mismatches(model: type[Any], value: dict[str, Any], path: str = "") -> list[str]:
    """Compare JSON with an SDK model: unknown names, missing names, wrong types."""
    names = {key: attribute for attribute, key in model.attribute_map.items()}
    found = [f"{path}.{key} is unknown" for key in value.keys() - names.keys()]
    found += [f"{path}.{key} is missing" for key in names.keys() - value.keys()]
    for key in value.keys() & names.keys():
        found += mismatched(model.openapi_types[names[key]], value[key], f"{path}.{key}")
    return found


def mismatched(kind: str, value: Any, path: str) -> list[str]:
    inner = re.fullmatch(r"list\[(\w+)\]|dict\(str, (\w+)\)", kind)
    if value is None:
        return []
    if inner:
        values = value if inner[1] else value.values()
        return [found for one in values for found in mismatched(inner[1] or inner[2], one, path)]
    plain = {"str": str, "int": int, "bool": bool}.get(kind)
    if plain is None:
        return mismatches(getattr(sdk, kind), value, path)
    return [] if type(value) is plain else [f"{path} is no {kind}: {value!r}"]


def raw(url: str) -> Any:
    request = urllib.request.Request(url, headers={"X-Auth-Token": "raw"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request) as answer:
        return json.load(answer)


@pytest.mark.parametrize("kind", ["CSE", "NACOS", "MICROGATEWAY"])
def test_every_field_is_one_the_sdk_knows_and_none_is_missing(kind):
    with start_simulator("--token", "raw", "--no-quirks", engines=1, type=kind) as simulation:
        [engine] = simulation.admin.engines()
        base = f"{simulation.url}/v2/{DEFAULT_PROJECT}/enginemgr/engines"
        details = raw(f"{base}/{engine.id}")
        listing = raw(base)
        job = raw(f"{base}/{engine.id}/jobs/{engine.latest_job_id}")
    assert mismatches(sdk.ListEnginesResponse, listing) == []
    assert mismatches(sdk.ShowEngineResponse, details) == []
    assert mismatches(sdk.ShowEngineJobResponse, job) == []


def test_the_comparison_with_the_sdks_models_finds_what_is_wrong():
    wrong = {"total": "1", "data": [{"id": 5, "nick": "x"}]}
    found = mismatches(sdk.ListEnginesResponse, wrong)
    assert ".total is no int: '1'" in found
    assert ".data.id is no str: 5" in found
    assert ".data.nick is unknown" in found
    assert ".data.name is missing" in found


def test_an_engine_is_the_same_listed_and_shown(admin, client):
    made = admin.create_engine("listed", version="2.3.1", latest_version="2.4.0")
    listed = client.list_engines(sdk.ListEnginesRequest(offset=0, limit="1000"))
    [row] = [one for one in listed.data if one.id == made.id]
    details = show(client, made.id)
    assert listed.total == len(listed.data)
    for one in (row, details):
        assert (one.name, one.type, one.spec_type) == ("listed", "CSE", "CSE2")
        assert (one.status, one.version, one.latest_version) == ("Available", "2.3.1", "2.4.0")
        assert one.latest_job_id == made.latest_job_id
        assert one.engine_additional_actions == ["Noting"]
        assert abs(one.create_time / 1000 - time.time()) < 3600
    assert details.project_id == DEFAULT_PROJECT
    node = details.cce_spec.cluster_nodes.cluster_nodes[0]
    assert node.label == "active"
    registry = details.external_entrypoint.service_endpoint["serviceCenter"]
    assert registry.master_entrypoint.endswith(":30100")
    assert details.reference.az_list == ["az1", "az2"]


def test_the_sdk_pages_through_a_listing(admin, connect):
    admin.generate_engines(Generation(5, prefix="page", project="paged"))
    client = connect(project="paged")
    names = [
        [row.name for row in client.list_engines(sdk.ListEnginesRequest(offset, "2")).data]
        for offset in (0, 2, 4)
    ]
    assert names == [
        ["page-00000", "page-00001"],
        ["page-00002", "page-00003"],
        ["page-00004"],
    ]


def test_the_sdk_upgrades_an_engine_and_follows_the_job_to_its_end(admin, client):
    engine = admin.create_engine("upgraded")
    started = upgrade(client, engine.id)
    assert (started.id, started.name) == (engine.id, "upgraded")
    assert type(started.job_id) is int

    job = show_job(client, engine.id, started.job_id)
    assert (job.id, job.engine_id, job.type) == (started.job_id, engine.id, "Upgrade")
    assert (job.status, job.scheduling, job.create_user) == ("Init", 1, KEY)
    assert len(job.tasks) == 5
    upgrading = show(client, engine.id)
    assert (upgrading.status, upgrading.latest_job_id) == ("Upgrading", started.job_id)

    admin.end_job(started.job_id)
    job = show_job(client, engine.id, started.job_id)
    assert (job.status, job.scheduling) == ("Finished", 0)
    assert job.end_time >= job.start_time > 0
    assert [step.status for step in job.tasks] == ["Finished"] * 5
    assert job.tasks[0].task_executor_brief.description == job.tasks[0].task_name
    # The vendor's own example has a finished job with an inner task that never began.
    assert job.tasks[-1].tasks[-1].status == "Init"
    assert job.tasks[0].tasks[0].job_id == job.id
    done = show(client, engine.id)
    assert (done.status, done.version) == ("Available", "2.4.0")
    assert admin.accepted_upgrades()[engine.id, "2.4.0"] == 1


def test_the_sdk_retries_a_failed_upgrade(admin, client):
    engine = admin.create_engine("retried")
    admin.plan_jobs(JobPlan("error", step=2, seconds=0), engine.id)
    failed = upgrade(client, engine.id)
    job = show_job(client, engine.id, failed.job_id)
    assert [step.status for step in job.tasks] == ["Finished", "Error", "Init", "Init", "Init"]
    shown = show(client, engine.id)
    assert (shown.status, shown.engine_additional_actions) == ("UpgradeFailed", ["Retry"])
    again = retry(client, engine.id)
    assert again.job_id > failed.job_id
    admin.end_job(again.job_id)
    assert show(client, engine.id).version == "2.4.0"


def test_an_engine_level_refusal_reaches_the_sdk_with_its_code(admin, client):
    engine = admin.create_engine("refused")
    upgrade(client, engine.id)
    with pytest.raises(ClientRequestException) as refused:
        upgrade(client, engine.id)
    assert refused.value.status_code == 400
    assert refused.value.error_code == "SVCSTG.00501117"
    [_, call] = admin.calls("Upgrade", engine.id)
    assert refused.value.request_id == call.request_id
    assert call.body == {"version": "2.4.0"}


def test_a_gateway_refusal_reaches_the_sdk_with_its_code(admin, client):
    admin.add_fault(Fault(operation="ShowEngine", status=403))
    with pytest.raises(ClientRequestException) as refused:
        show(client, "any")
    assert (refused.value.status_code, refused.value.error_code) == (403, "APIGW.0302")


@pytest.mark.parametrize(("key", "secret"), [(KEY, "wrong"), ("AKWRONG", SECRET)])
def test_a_wrong_signature_is_refused(connect, admin, key, secret):
    with pytest.raises(ClientRequestException) as refused:
        connect(key, secret).list_engines(sdk.ListEnginesRequest(0, "10"))
    assert (refused.value.status_code, refused.value.error_code) == (401, "APIGW.0301")


def test_a_signature_covers_what_must_be_escaped(admin, client):
    name = "odd id/with ümlaut~&="
    engine = admin.create_engine("odd", id=name)
    assert show(client, engine.id).id == name
    assert client.list_engines(sdk.ListEnginesRequest(0, "10", "ÜBER & co")).total == 0


def test_a_temporary_key_comes_with_its_security_token(connect):
    flags = ("--access-key", f"{KEY}:{SECRET}:security", "--engines", "1")
    with start_simulator(*flags) as simulation:
        request = sdk.ListEnginesRequest(0, "10")
        with_token = connect(security_token="security", url=simulation.url)
        assert with_token.list_engines(request).total == 1
        with pytest.raises(ClientRequestException):
            connect(url=simulation.url).list_engines(request)
