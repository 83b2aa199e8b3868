"""Policies in a plan: those among the manifests, and those that a merge takes away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.cli.main import main
from support.plans import answer, commit, planned, write
from support.policies import cluster_policy_manifest, policy_manifest

BASE = ("-f", "engines", "--base", "HEAD")
NEVER = {"windows": [{"name": "w", "schedule": "0 2 30 FEB *", "duration": "4h"}]}


def write_policies(*manifests: dict[str, Any]) -> None:
    Path("engines/policies.yaml").write_text(yaml.safe_dump_all(manifests))


# --- policies that the API server refuses, or the operator ----------------------------------------


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"suspend": True, "maxConcurent": 2}, "there is no field spec.maxConcurent"),
        ({"suspend": "yes"}, "spec.suspend: Input should be a valid boolean"),
        ({"suspend": True, "windows": [{"name": "w", "schedule": "* * * * *", "duration": "4h"}]},
         "spec.windows.0.schedule"),
    ],
)  # fmt: skip
def test_a_policy_that_the_api_server_refuses_is_told_and_holds_nothing(
    repository, capsys, spec, said
):
    write("orders", version="2.4.0", engineId="orders")
    write_policies(policy_manifest("payments", "closed", **spec))
    found = answer(capsys, *BASE, "--detailed-exitcode", code=3)
    assert [one["verdict"] for one in found["engines"]] == ["upgrade"]
    [refused] = found["policies"]
    assert (refused["kind"], refused["verdict"]) == ("UpgradePolicy", "refused")
    assert refused["message"].startswith(said)
    assert (refused["file"], refused["name"]) == ("engines/policies.yaml", "closed")


def test_a_refused_policy_that_the_merge_leaves_as_it_is_is_left_out(repository, capsys):
    write_policies(policy_manifest("payments", "closed", suspnd=True))
    commit("second")
    assert answer(capsys, *BASE, "--detailed-exitcode")["policies"] == []


def test_a_policy_that_is_stored_and_cannot_be_evaluated_is_told_and_holds(repository, capsys):
    write("orders", version="2.4.0", engineId="orders")
    write_policies(policy_manifest("payments", "closed", **NEVER))
    found = answer(capsys, *BASE, "--detailed-exitcode", code=3)
    assert [one["reason"] for one in found["engines"]] == ["PolicyInvalid"]
    [invalid] = found["policies"]
    assert invalid["reason"] == "PolicyInvalid"
    assert "it holds all that it selects" in invalid["message"]


def test_a_policy_that_is_named_twice_is_refused_the_second_time(repository, capsys):
    write("orders", version="2.4.0", engineId="orders")
    twice = [policy_manifest("payments", "one", suspend=suspend) for suspend in (True, False)]
    write_policies(*twice)
    found = answer(capsys, *BASE, "--detailed-exitcode", code=3)
    assert [one["verdict"] for one in found["engines"]] == ["held"]
    assert [one["reason"] for one in found["policies"]] == ["NamedTwice"]


def test_people_read_which_policy_is_refused(repository, capsys):
    write_policies(cluster_policy_manifest("all", suspnd=True))
    assert main(["plan", "-f", "engines", "--base", "HEAD", "--offline"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "✗ ClusterUpgradePolicy all  refused",
        "    there is no field spec.suspnd",
        "",
        "Plan for 0 engines: nothing. Policies refused or invalid: 1.",
    ]


def test_an_operator_of_some_namespaces_ignores_policies_of_the_cluster(
    repository, capsys, monkeypatch
):
    write("orders", version="2.4.0", engineId="orders")
    write_policies(cluster_policy_manifest("all", suspend=True))
    assert planned(capsys, *BASE)["orders"]["verdict"] == "held"
    monkeypatch.setenv("CSE_OPERATOR_NAMESPACES", "payments")
    assert planned(capsys, *BASE)["orders"]["verdict"] == "upgrade"


def test_two_new_policies_of_one_name_open_each_at_its_own_time(repository, capsys):
    write("registry", "search", namespace="search", version="2.3.1", engineId="registry")
    commit("second")
    write("orders", version="2.4.0", engineId="orders")
    write("registry", "search", namespace="search", version="2.4.0", engineId="registry")
    begun, soon = "2020-01-01T00:00:00Z", f"{datetime.now(UTC) + timedelta(days=30):%FT%TZ}"
    write_policies(
        policy_manifest(
            "payments", "calm", freezes=[{"from": begun, "to": "2150-01-01T00:00:00Z"}]
        ),
        policy_manifest("search", "calm", freezes=[{"from": begun, "to": soon}]),
    )
    found = planned(capsys, *BASE, "-f", "search")
    assert (found["orders"]["reason"], found["registry"]["reason"]) == (
        "NeverOpens",
        "ChangeFreeze",
    )
    assert found["registry"]["heldBy"][0]["until"] == soon
