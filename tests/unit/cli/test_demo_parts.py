"""The parts of the demo that need no cluster."""

from __future__ import annotations

import io
import queue
from typing import Any

import httpx
import pytest
import yaml
from rich.console import Console

from cse_operator.api.spec import Spec
from cse_simulator.demo import __main__ as command
from cse_simulator.demo import kubectl, story, world
from cse_simulator.demo.children import operator_environment
from cse_simulator.demo.screen import Screen
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.simulation import Simulation
from support.repository import ROOT


def test_the_samples_fit_the_resource():
    ids = {sample.name: "891bf21a-4024-4f47-b38c-bd259ca8f10a" for sample in world.SAMPLES}
    documents = list(yaml.safe_load_all(world.manifests(ids)))
    assert [document["metadata"]["name"] for document in documents] == list(ids)
    for document in documents:
        Spec.model_validate(document["spec"], strict=True)


def test_the_engines_of_the_samples_to_apply_are_there(simulator: Simulation):
    world.populate(simulator.admin)
    engines = {engine.id: engine for engine in simulator.admin.engines(DEFAULT_PROJECT)}
    applied = [
        document
        for path in sorted((ROOT / "deploy" / "samples").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
        if document["kind"] == "MicroserviceEngine"
    ]
    assert len(applied) == 3
    for document in applied:
        spec = document["spec"]
        assert spec["projectId"] == DEFAULT_PROJECT
        assert spec["region"] == world.REGION
        assert spec["credentialsRef"]["name"] == world.SECRET
        assert engines[spec["engineId"]].latest_version == spec["version"]
        assert engines[spec["engineId"]].name == document["metadata"]["name"]


def test_the_samples_and_the_demo_name_no_resource_alike():
    names = {name for name, *_ in world.ENGINES_OF_DEPLOY_SAMPLES}
    assert names.isdisjoint(sample.name for sample in world.SAMPLES)


def item(*conditions: tuple[str, str, int], generation: int = 2) -> dict[str, Any]:
    return {
        "metadata": {"name": "a", "generation": generation},
        "status": {
            "conditions": [
                {"type": type_, "status": status, "observedGeneration": observed}
                for type_, status, observed in conditions
            ]
        },
    }


@pytest.mark.parametrize(
    ("resource", "settled"),
    [
        ({"metadata": {"name": "a", "generation": 1}}, False),
        (item(("Ready", "True", 2)), True),
        (item(("Ready", "True", 1)), False),
        (item(("Ready", "False", 2), ("Reconciling", "True", 2)), False),
        (item(("Ready", "False", 2), ("Stalled", "True", 2)), True),
    ],
)
def test_settled_is_what_the_operator_has_said_of_this_very_spec(resource, settled):
    assert story._settled(resource) is settled


class _Operator:
    """Stands in for the operator's process, which the summary asks only for its log."""

    def last_words(self) -> str:
        return "its last words"


def summary(simulator: Simulation, ids: dict[str, str], **changes: str) -> tuple[bool, str]:
    """Return the summary of samples that ended as planned, except for the changes."""
    resources = {}
    for number, sample in enumerate(world.SAMPLES):
        status: dict[str, Any] = {"phase": sample.phase, "currentVersion": sample.wanted}
        if sample.result:
            status |= {"jobId": number, "result": sample.result, "message": "bad; do this"}
        resources[sample.name] = {"status": status | changes}
    output = io.StringIO()
    scene = story._Scene(
        screen=Screen(Console(file=output, width=100)),
        place=None,  # type: ignore[arg-type]
        vendor=simulator,
        operator=_Operator(),  # type: ignore[arg-type]
        engine_ids=ids,
        resources=resources,
    )
    return story._sum_up(scene), output.getvalue()


def upgrade(simulator: Simulation, engine: str, version: str) -> int:
    """Call the simulated vendor as the operator would."""
    url = f"{simulator.url}/v2/{DEFAULT_PROJECT}/enginemgr/engines/{engine}/upgrade"
    headers = {"X-Auth-Token": "any", "Content-Type": "application/json;charset=UTF-8"}
    return httpx.put(url, json={"version": version}, headers=headers).status_code


def test_the_summary_counts_the_calls_at_the_vendor(simulator: Simulation):
    ids = world.populate(simulator.admin)
    for sample in world.SAMPLES:
        if sample.calls:
            assert upgrade(simulator, ids[sample.name], sample.wanted) == 200

    good, said = summary(simulator, ids)

    assert good
    assert "2 upgrade calls for 2 wanted upgrades: exactly one each" in said
    assert "its way out: do this" in said


def test_a_second_call_is_no_success_even_if_the_vendor_refuses_it(simulator: Simulation):
    ids = world.populate(simulator.admin)
    for sample in world.SAMPLES:
        if sample.calls:
            assert upgrade(simulator, ids[sample.name], sample.wanted) == 200
    assert upgrade(simulator, ids["storefront"], "2.4.0") == 400

    good, said = summary(simulator, ids)

    assert not good
    assert "✗ storefront" in said
    assert "2 upgrade calls" in said
    assert "exactly one each" not in said
    assert "its last words" in said


def test_another_outcome_is_no_success(simulator: Simulation):
    good, said = summary(simulator, world.populate(simulator.admin), phase="Waiting")
    assert not good
    assert said.count("✗") == 3


def read(text: str) -> list[Any]:
    changes: queue.Queue[Any] = queue.Queue()
    kubectl._read(io.StringIO(text), changes)
    found = []
    while (change := changes.get_nowait()) is not None:
        found.append(change)
    return found


def test_a_watch_is_read_whether_its_objects_are_on_one_line_or_on_several():
    on_several = '{\n  "type": "ADDED",\n  "object": {\n    "a": {}\n  }\n}\n'
    on_one = '{"type":"DELETED","object":{"a":{}}}\n'
    assert read(on_several + on_one) == [
        {"type": "ADDED", "object": {"a": {}}},
        {"type": "DELETED", "object": {"a": {}}},
    ]


def test_the_end_of_a_watch_is_told():
    assert read("") == []


def test_settings_for_another_operator_have_no_say_in_the_demo(monkeypatch, tmp_path):
    monkeypatch.setenv("CSE_OPERATOR_NAMESPACES", "production")
    monkeypatch.setenv("KUBECONFIG", "/production")
    environment = operator_environment(tmp_path / "kubeconfig")
    assert "CSE_OPERATOR_NAMESPACES" not in environment
    assert environment["KUBECONFIG"] == str(tmp_path / "kubeconfig")
    assert environment["TMPDIR"] == str(tmp_path)
    assert environment["PATH"]


def test_the_demo_explains_its_flags(capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: python -m cse_simulator.demo")
    for flag in ("--keep", "--cluster", "--yes"):
        assert flag in shown
