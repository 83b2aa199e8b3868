"""A plan of the wrong folder, kind or namespace is an error, and never a plan without engines."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.cli.main import main
from support.engines import engine_manifest
from support.plans import OFFLINE, answer, commit, write
from support.policies import cluster_policy_manifest
from support.repository import ROOT

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """Return the error of a plan that cannot be made."""
    assert main(["plan", *flags, *OFFLINE]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    return told.err


def kustomization(folder: str, **content: Any) -> None:
    Path(folder).mkdir(parents=True, exist_ok=True)
    Path(folder, "kustomization.yaml").write_text(yaml.safe_dump(content))


def engine_without_namespace(path: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    manifest = engine_manifest(Path(path).stem, namespace="x", engineId=Path(path).stem)
    del manifest["metadata"]["namespace"]
    Path(path).write_text(yaml.safe_dump(manifest))


# --- nothing to plan ------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), ("--detailed-exitcode",), ("--base", "HEAD")])
def test_a_folder_without_engines_and_policies_is_an_error(repository, capsys, more):
    Path("other").mkdir()
    Path("other/map.yaml").write_text(yaml.safe_dump(CONFIG_MAP))
    commit("second")
    told = refused(capsys, "-f", "other", *more)
    assert told == ("no MicroserviceEngine or policy found in other: check the path and the kind\n")


def test_a_standard_input_without_engines_is_an_error(capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO(yaml.safe_dump(CONFIG_MAP)))
    assert "no MicroserviceEngine or policy found in standard input" in refused(capsys, "-f", "-")


def test_a_folder_with_a_policy_alone_is_planned(repository, capsys):
    Path("policies").mkdir()
    Path("policies/one.yaml").write_text(yaml.safe_dump(cluster_policy_manifest("nights")))
    assert answer(capsys, "-f", "policies")["engines"] == []


def test_a_misspelt_kind_is_an_error_that_names_the_kinds(repository, capsys):
    text = Path("engines/orders.yaml").read_text()
    Path("engines/orders.yaml").write_text(text.replace("MicroserviceEngine", "MicroServiceEngine"))
    assert refused(capsys, "-f", "engines") == (
        "engines/orders.yaml:10: there is no kind MicroServiceEngine in cse-operator.io: its kinds"
        " are ClusterUpgradePolicy, MicroserviceEngine, UpgradePolicy\n"
    )


def test_a_merge_that_corrects_a_misspelt_kind_is_planned(repository, capsys):
    text = Path("engines/orders.yaml").read_text()
    Path("engines/orders.yaml").write_text(text.replace("MicroserviceEngine", "MicroServiceEngine"))
    commit("misspelt")
    Path("engines/orders.yaml").write_text(text)
    [one] = answer(capsys, "-f", "engines", "--base", "HEAD")["engines"]
    assert (one["name"], one["change"]) == ("orders", "added")


def test_a_merge_that_deletes_every_engine_is_planned(repository, capsys):
    for file in Path("engines").iterdir():
        file.write_text("")
    found = answer(capsys, "-f", "engines", "--base", "HEAD")["engines"]
    assert {one["change"] for one in found} == {"removed"}


# --- a kustomization that -f does not apply -------------------------------------------------------


@pytest.fixture
def sample(repository: Path) -> Path:
    """The repository's own sample for Argo CD and Flux, whose kustomizations set a namespace."""
    shutil.copytree(ROOT / "deploy/samples/gitops/production", "production")
    return repository


@pytest.mark.parametrize(
    ("path", "folder"),
    [
        ("production", "production"),
        ("production/canary", "production/canary"),
        ("production/canary/canary.yaml", "production/canary"),
    ],
)
def test_the_namespace_of_a_kustomization_is_not_left_out_in_silence(sample, capsys, path, folder):
    assert refused(capsys, "-f", path) == (
        "production/canary/kustomization.yaml sets the namespace payments, and -f does not apply"
        " that: production/canary/canary.yaml would be planned in default; say -n payments, or"
        f" -k {folder}\n"
    )


def test_with_that_namespace_the_files_are_planned_with_their_lines(sample, capsys):
    found = answer(capsys, "-f", "production", "-n", "payments")["engines"]
    assert {(one["namespace"], one["name"]) for one in found} == {
        ("payments", "canary"),
        ("payments", "orders"),
        ("payments", "registry"),
    }
    assert all(one["line"] for one in found)


def test_another_namespace_than_that_of_the_kustomization_is_an_error(sample, capsys):
    told = refused(capsys, "-f", "production", "-n", "search")
    assert "would be planned in search; say -k production" in told


def test_manifests_that_name_the_namespace_themselves_are_planned(repository, capsys):
    write("orders", version="2.4.0", engineId="orders")
    kustomization("engines", namespace="payments", resources=["orders.yaml", "ledger.yaml"])
    assert len(answer(capsys, "-f", "engines")["engines"]) == 2


def test_a_base_in_two_namespaces_is_planned_by_its_kustomizations_only(repository, capsys):
    engine_without_namespace("all/base/orders.yaml")
    kustomization("all/base", resources=["orders.yaml"])
    for name in ("blue", "green"):
        kustomization(f"all/{name}", namespace=name, resources=["../base"])
    assert "sets the namespace blue" in refused(capsys, "-f", "all", "-n", "green")
    assert "sets the namespace green" in refused(capsys, "-f", "all", "-n", "blue")


@pytest.mark.parametrize("field", ["patches", "namePrefix", "commonLabels", "components"])
def test_what_a_kustomization_changes_is_not_left_out_in_silence(repository, capsys, field):
    changes = {field: "x" if field == "namePrefix" else ["x"]}
    kustomization("engines", resources=["orders.yaml"], **changes)
    told = refused(capsys, "-f", "engines", "-n", "payments")
    assert f"engines/kustomization.yaml changes its resources ({field})" in told
    assert told.endswith("engines/orders.yaml: say -k engines\n")


def test_a_merge_that_corrects_a_kustomization_is_planned(repository, capsys):
    kustomization("engines", resources=["orders.yaml"], patches=["x"])
    commit("patched")
    kustomization("engines", resources=["orders.yaml"])
    assert answer(capsys, "-f", "engines", "--base", "HEAD")["engines"] == []


def test_a_kustomization_in_a_hidden_folder_is_not_read(repository, capsys):
    Path(".cache").mkdir()
    Path(".cache/kustomization.yaml").write_text("{{ a template")
    assert len(answer(capsys, "-f", ".")["engines"]) == 2


def test_a_kustomization_of_other_files_changes_no_engine(repository, capsys):
    kustomization(".", namespace="web", resources=["web"])
    kustomization("web", patches=["x"], resources=["map.yaml"])
    assert len(answer(capsys, "-f", ".")["engines"]) == 2


# --- the operator's settings ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variable", "told"),
    [
        ("REQUIRE_POLICY=true", ("held", "NoPolicy")),
        ("OBSERVE_ONLY=true", ("held", "ObserveOnly")),
        ("ALLOWED_REGIONS=cn-east-3", ("refused", "RegionNotAllowed")),
    ],
)
def test_the_operators_own_variables_change_the_forecast(
    repository, capsys, monkeypatch, variable, told
):
    write("orders", version="2.4.0", engineId="orders")
    [one] = answer(capsys, "-f", "engines", "--base", "HEAD")["engines"]
    assert one["verdict"] == "upgrade"
    name, _, value = variable.partition("=")
    monkeypatch.setenv(f"CSE_OPERATOR_{name}", value)
    [one] = answer(capsys, "-f", "engines", "--base", "HEAD")["engines"]
    assert (one["verdict"], one["reason"]) == told
