"""The comparisons of `check`, and the display of its findings."""

from __future__ import annotations

import io
from copy import deepcopy
from typing import Any

import pytest
import yaml
from rich.console import Console

from cse_operator.api import crd
from cse_operator.cli import check, cluster_checks, report
from cse_operator.cli.flags import read_settings
from cse_operator.runtime.settings import Settings
from support.repository import ROOT


def rules_of(*files: str) -> set[tuple[str, str, str]]:
    return {
        (verb, group, resource)
        for name in files
        for rule in yaml.safe_load((ROOT / "deploy/base" / name).read_text())["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def checked_rights(settings: Settings) -> set[tuple[str, str, str]]:
    return {(r.verb, r.group, r.resource) for r in cluster_checks.needed_rights(settings)}


def test_it_asks_for_exactly_the_rights_that_the_installation_gives():
    assert checked_rights(Settings()) == rules_of("cluster-role.yaml")
    elected = checked_rights(Settings(leader_elect=True))
    assert elected == rules_of("cluster-role.yaml", "role.yaml")


def test_it_looks_for_rights_where_the_operator_would_use_them():
    rights = cluster_checks.needed_rights(
        Settings(namespaces=("a", "b"), leader_elect=True, lease_namespace="c")
    )
    leases = [right for right in rights if right.resource == "leases"]
    assert {right.namespaces for right in leases} == {("c",)}
    assert {right.namespaces for right in rights if right not in leases} == {("a", "b")}
    assert {(right.verb, right.name) for right in leases} == {
        ("create", ""),  # a right to create cannot be bound to a name
        ("get", "cse-operator"),
        ("patch", "cse-operator"),
    }


def schema() -> dict[str, Any]:
    whole = crd.definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    found: dict[str, Any] = deepcopy(whole)
    return found


def test_two_equal_schemas_do_not_differ():
    assert list(cluster_checks._differences(schema(), schema(), "")) == []


def test_a_difference_is_named_as_a_path_that_a_person_knows():
    old = schema()
    spec = old["properties"]["spec"]["properties"]
    del spec["upgrade"]["properties"]["retryLimit"]
    spec["version"]["maxLength"] = 12
    spec["gone"] = {"type": "string"}
    wanted, found = schema()["properties"]["spec"], old["properties"]["spec"]
    assert list(cluster_checks._differences(wanted, found, "spec")) == [
        "spec.gone",
        "spec.upgrade.retryLimit",
        "spec.version.maxLength",
    ]


def test_a_missing_schema_is_a_difference_in_the_whole():
    assert list(cluster_checks._differences(schema(), None, "status")) == ["status"]


FINDINGS = [
    report.ok("cluster", "it is there"),
    report.note("endpoint", "not tried", "Name a region"),
    report.problem("right", "may not get secrets " + "in this long list of namespaces " * 9, "Ask"),
]


def shown(*, terminal: bool) -> list[str]:
    output = io.StringIO()
    report.show(FINDINGS, Console(file=output, force_terminal=terminal, width=80, no_color=True))
    return output.getvalue().splitlines()


def test_elsewhere_than_on_a_terminal_each_finding_is_one_line_and_its_way_out_another():
    assert shown(terminal=False) == [
        "ok       cluster: it is there",
        "note     endpoint: not tried",
        "         → Name a region",
        f"PROBLEM  right: {FINDINGS[2].sentence}",
        "         → Ask",
    ]


def test_on_a_terminal_nothing_is_cut_off():
    text = " ".join(" ".join(shown(terminal=True)).split())
    assert text.split().count("namespaces") == 9
    assert "…" not in text
    assert "Name a region" in text


def test_a_secret_needs_a_region_and_a_project_to_be_tried_in(capsys):
    assert check.main(["--secret=huaweicloud", "--region=cn-north-4"]) == 2
    assert "--secret needs --region and --project-id" in capsys.readouterr().out


def test_an_endpoint_that_must_not_be_used_is_a_finding(capsys):
    assert check.main(["--cse-endpoint=http://cse.example.com"]) == 1
    assert "PROBLEM  settings: 'http://cse.example.com' needs https" in capsys.readouterr().out


def test_without_a_cluster_it_says_so(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert check.main([]) == 1
    assert "PROBLEM  cluster: There is no cluster to talk to" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        ({}, "default"),
        ({"namespaces": ("a",)}, "a"),
        ({"namespaces": ("a", "b")}, "default"),
        ({"namespaces": ("a",), "namespace": "b"}, "b"),
    ],
)
def test_what_is_tried_is_looked_for_where_it_most_likely_is(flags, place):
    assert check.CheckSettings(**flags).place == place


@pytest.mark.parametrize("flags", [["-n", "search"], ["--namespace=search"]])
def test_the_namespace_has_the_flags_of_kubectl(flags):
    settings = read_settings(check.CheckSettings, "cse-operator check", flags, description="")
    assert settings is not None
    assert settings.place == "search"
