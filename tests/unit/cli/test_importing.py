"""Names, texts and files of `cse-operator import`: stable, valid, and no overwritten work."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from cse_operator.cli.importing import flags
from cse_operator.cli.importing.folder import HEADER, Folder, FolderError, engine_of
from cse_operator.cli.importing.selection import (
    NAME_LIMIT,
    TYPES,
    Target,
    manifest_of,
    name_of,
    reason_to_leave_out,
)
from cse_operator.cli.manifests import ManifestError
from cse_operator.core.views import EngineView

ID = "891bf21a-4024-4f47-b38c-bd259ca8f10a"
TARGET = Target(region="cn-north-4", project_id="0a1b2c", credentials="huaweicloud")


def engine(**changes: Any) -> EngineView:
    usual: dict[str, Any] = {
        "engine_id": ID,
        "name": "orders",
        "type": "CSE",
        "status": "Available",
        "version": "2.3.1",
        "latest_version": "2.4.0",
        "latest_job_id": None,
        "additional_actions": (),
        "observed_at": None,
    }
    return EngineView(**(usual | changes))


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("orders", "orders"),
        ("Orders_EU (prod)", "orders-eu-prod"),
        ("订单", "engine-891bf21a"),
        ("", "engine-891bf21a"),
        ("x" * 80, "x" * 63),
        ("x" * 62 + "--y", "x" * 62),
    ],
)
def test_a_resource_has_the_engines_name_as_kubernetes_can_take_it(name, expected):
    assert name_of(engine(name=name), set()) == expected


def test_a_name_that_is_taken_gets_digits_of_the_id():
    assert name_of(engine(), {"orders"}) == "orders-891bf21a"
    long = name_of(engine(name="x" * 63), {"x" * 63})
    assert long == "x" * 54 + "-891bf21a"
    assert name_of(engine(), {"orders", "orders-891bf21a"}).startswith("orders-891bf21a4024")


@example(name="", id_="0" * 64)
@example(name="", id_="订单")
@given(name=st.text(max_size=80), id_=st.from_regex(r"[0-9a-zA-Z]([-0-9a-zA-Z_]{0,60}[0-9a-z])?"))
def test_every_engine_gets_a_name_that_kubernetes_takes(name, id_):
    taken: set[str] = set()
    for _ in range(6):
        found = name_of(engine(name=name, engine_id=id_.strip()), taken)
        assert 0 < len(found) <= NAME_LIMIT
        assert found not in taken
        assert found.strip("-") == found
        assert all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in found)
        taken.add(found)


# --- which ------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["Creating", "Deleting", "Deleted", "Freezed", "Frozen"])
def test_what_is_not_there_to_stay_is_left_out(status):
    assert reason_to_leave_out(engine(status=status), TYPES) == f"it is {status}"


def test_an_engine_in_an_upgrade_is_left_out_because_its_version_is_about_to_be_another():
    assert reason_to_leave_out(engine(status="Upgrading"), TYPES) == "it is Upgrading"


@pytest.mark.parametrize("status", ["Available", "Unavailable", "UpgradeFailed", "ModifyFailed"])
def test_an_engine_that_is_there_is_taken(status):
    assert reason_to_leave_out(engine(status=status, type="Nacos"), TYPES) is None


def test_a_type_that_is_not_known_or_not_wanted_is_left_out():
    assert reason_to_leave_out(engine(type="CSE_Share"), TYPES)
    assert reason_to_leave_out(engine(type="NACOS"), ("CSE",))
    assert reason_to_leave_out(engine(type=""), TYPES)


# --- texts ------------------------------------------------------------------------------------


def test_a_manifest_says_what_git_must_say_and_no_more():
    assert yaml.safe_load(manifest_of(engine(), "orders", TARGET)) == {
        "apiVersion": "cse-operator.io/v1alpha1",
        "kind": "MicroserviceEngine",
        "metadata": {"name": "orders"},
        "spec": {
            "region": "cn-north-4",
            "projectId": "0a1b2c",
            "engineId": ID,
            "version": "2.3.1",
            "credentialsRef": {"name": "huaweicloud"},
        },
    }


def test_all_that_can_be_asked_for_is_in_it():
    target = Target(
        region="cn-north-4",
        project_id="0a1b2c",
        credentials="key",
        enterprise_project_id="ep-1",
        namespace="payments",
        labels=(("example.com/team", "a"), ("tier", "1e3")),
        suspend=True,
    )
    found = yaml.safe_load(manifest_of(engine(), "orders", target))
    assert found["metadata"] == {
        "name": "orders",
        "namespace": "payments",
        "labels": {"example.com/team": "a", "tier": "1e3"},
    }
    assert found["spec"]["enterpriseProjectId"] == "ep-1"
    assert found["spec"]["suspend"] is True


@given(name=st.text(max_size=64))
def test_no_name_of_an_engine_can_break_out_of_its_comment(name):
    text = manifest_of(engine(name=name), "orders", TARGET)
    assert text.isascii()
    assert yaml.safe_load(text)["metadata"] == {"name": "orders"}
    assert text.splitlines()[1] == "apiVersion: cse-operator.io/v1alpha1"


@pytest.mark.parametrize("digits", ["12345678901234567890e12", "0123", "0x1f", "1_000"])
def test_an_id_that_looks_like_a_number_stays_a_text(digits):
    text = manifest_of(engine(engine_id=digits), "orders", TARGET)
    assert f'engineId: "{digits}"' in text


def test_what_the_resource_would_refuse_is_not_written():
    with pytest.raises(ValueError, match=r"^version: "):
        manifest_of(engine(version="v2.4"), "orders", TARGET)
    with pytest.raises(ValueError, match=r"^region: "):
        manifest_of(engine(), "orders", Target("nowhere", "0a", "key"))


# --- files ------------------------------------------------------------------------------------


def test_a_folder_knows_the_engines_that_it_names(tmp_path):
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "any.yaml").write_text(manifest_of(engine(), "mine", TARGET))
    folder = Folder.at(tmp_path)
    assert [known.name for known in folder.known.values()] == ["mine"]
    assert folder.names(None) == {"mine"}
    assert folder.names("payments") == set()
    assert engine_of(next(iter(folder.known.values())).spec) == ("cn-north-4", "0a1b2c", ID)


def test_a_folder_that_cannot_be_read_is_not_written_to(tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [")
    with pytest.raises(ManifestError, match=r"broken\.yaml:1"):
        Folder.at(tmp_path)


def test_a_file_that_says_something_else_is_kept(tmp_path):
    folder, place = Folder.at(tmp_path), tmp_path / "orders.yaml"
    assert folder.write(place, "a", over=False)
    assert not folder.write(place, "a", over=False)
    with pytest.raises(FolderError, match="exists with other content"):
        folder.write(place, "b", over=False)
    assert place.read_text() == "a"
    assert folder.write(place, "b", over=True)
    assert [path.name for path in tmp_path.iterdir()] == ["orders.yaml"]


def test_a_file_with_a_second_document_is_never_written_over(tmp_path):
    both = manifest_of(engine(), "one", TARGET) + "---\nkind: ConfigMap\n"
    (tmp_path / "both.yaml").write_text(both)
    (tmp_path / "one.yaml").write_text(manifest_of(engine(engine_id="e2"), "two", TARGET))
    assert Folder.at(tmp_path).alone == {str(tmp_path / "one.yaml")}


@pytest.mark.parametrize("pattern", ["../{name}.yaml", "/{name}.yaml", "{name}.txt", "{nam}.yaml"])
def test_a_pattern_leads_to_a_yaml_file_below_the_folder(tmp_path, pattern):
    with pytest.raises(FolderError, match="path-pattern"):
        Folder.at(tmp_path).place(pattern, {"name": "orders"})


def test_a_pattern_may_make_folders(tmp_path):
    place = Folder.at(tmp_path).place("{region}/{name}.yaml", {"region": "r", "name": "orders"})
    assert place == tmp_path / "r" / "orders.yaml"


def test_a_kustomization_lists_the_files_and_grows_only_where_it_is_ours(tmp_path):
    folder = Folder.at(tmp_path)
    assert folder.write_kustomization([tmp_path / "b.yaml", tmp_path / "a.yaml"])
    assert not folder.write_kustomization([tmp_path / "a.yaml", tmp_path / "b.yaml"])
    written = (tmp_path / "kustomization.yaml").read_text()
    assert yaml.safe_load(written)["resources"] == ["a.yaml", "b.yaml"]
    theirs = tmp_path / "kustomization.yaml"
    theirs.write_text(written.removeprefix(HEADER))
    assert not folder.write_kustomization([tmp_path / "a.yaml"])
    with pytest.raises(FolderError, match=r"add to its resources: c\.yaml"):
        folder.write_kustomization([tmp_path / "a.yaml", tmp_path / "c.yaml"])


# --- flags ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        ["--type=CSE_Share"],
        ["-l", "no value"],
        ["-n", "Payments"],
        ["--secret", "a/b"],
        ["--kustomization"],
        ["--overwrite"],
    ],
)
def test_a_flag_that_makes_no_sense_ends_it_before_anything_is_asked(wrong, capsys):
    with pytest.raises(SystemExit) as ended:
        flags.parse(["--region=cn-north-4", "--project-id=0a", *wrong])
    assert ended.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_types_are_written_as_people_write_them():
    found = flags.parse(["--region=r", "--project-id=p", "--type=nacos, CSE", "-f", "x"])
    assert found.type == ("NACOS", "CSE")
    assert found.folder == Path("x")
