"""Sources and display of plans, without a cluster or a vendor."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.cli.main import main
from cse_operator.cli.manifests import ManifestError, read_paths, read_text
from cse_operator.cli.planning import command, outputs
from cse_operator.cli.planning.sources import Sources
from cse_operator.cli.planning.verdict import Change, Kind, Verdict, exit_code
from cse_operator.cli.planning.world import World
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.reader import CseReader
from cse_operator.kubectl.holds import Hold
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.ownership import Ownership
from support.engines import engine_manifest
from support.plans import OFFLINE, commit, planned, write
from support.policies import policy_manifest
from support.resources import stored

# --- that it can start nothing --------------------------------------------------------------------


def calls_of(kind: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}


def test_who_looks_has_no_call_that_changes_an_engine():
    assert calls_of(CseReader) == {"list_engines", "list_engines_by_id", "list_jobs", "show_engine",
                                   "show_job"}  # fmt: skip
    assert calls_of(CseClient) - calls_of(CseReader) == {"upgrade", "retry"}
    assert "PUT" not in inspect.getsource(CseReader)


# --- git ------------------------------------------------------------------------------------------


def test_a_plan_against_a_revision_says_what_the_merge_changes(repository, capsys):
    write("orders", version="2.4.0", engineId="orders")
    write("fresh", version="2.4.0", engineId="fresh")
    Path("engines/ledger.yaml").unlink()
    found = planned(capsys, "-f", "engines", "--base", "HEAD")
    assert {name: (one["verdict"], one["change"]) for name, one in found.items()} == {
        "orders": ("upgrade", "changed"),
        "fresh": ("unknown", "added"),
        "ledger": ("nothing", "removed"),
    }
    assert (found["orders"]["from"], found["orders"]["to"]) == ("2.3.1", "2.4.0")
    assert (found["orders"]["file"], found["orders"]["line"]) == ("engines/orders.yaml", 10)


def test_what_is_as_it_was_is_left_out(repository, capsys):
    assert planned(capsys, "-f", "engines", "--base", "HEAD") == {}


def test_policies_among_the_manifests_hold_what_they_select(repository, capsys):
    write("orders", version="2.4.0", engineId="orders")
    write("ledger", version="2.4.0", engineId="ledger")
    selector = {"matchLabels": {"tier": "production"}}
    closed = policy_manifest("payments", "closed", suspend=True)
    elsewhere = policy_manifest("payments", "other", suspend=True, selector=selector)
    Path("engines/policy.yaml").write_text(yaml.safe_dump(elsewhere))
    flags = ("-f", "engines", "--base", "HEAD")
    assert planned(capsys, *flags)["orders"]["verdict"] == "upgrade"
    Path("engines/policy.yaml").write_text(yaml.safe_dump_all([closed, elsewhere]))
    found = planned(capsys, *flags)["orders"]
    assert (found["verdict"], found["reason"]) == ("held", "PolicySuspended")
    assert found["heldBy"][0]["by"] == "UpgradePolicy closed"


def test_a_link_in_a_revision_leads_nowhere(repository, capsys, tmp_path_factory):
    secret = tmp_path_factory.mktemp("elsewhere") / "secret.yaml"
    secret.write_text(yaml.safe_dump(engine_manifest("stolen", namespace="payments")))
    Path("engines/link.yaml").symlink_to(secret)
    commit("second")
    Path("engines/link.yaml").unlink()
    assert planned(capsys, "-f", "engines", "--base", "HEAD") == {}


@pytest.mark.parametrize(
    ("spec", "verdict", "code"),
    [
        ({"version": "2.2.0"}, "refused", 3),
        ({"version": "2.4.0", "suspend": True}, "held", 2),
        ({"version": "2.3.4"}, "upgrade", 2),
        ({"version": "2.3.0"}, "nothing", 0),
        ({"version": "2.3.1", "engineId": "another"}, "refused", 3),
    ],
)
def test_the_exit_code_says_what_happens_where_it_is_asked_to(
    repository, capsys, spec, verdict, code
):
    write("orders", **{"engineId": "orders", **spec})
    flags = ("-f", "engines", "--base", "HEAD")
    assert planned(capsys, *flags)["orders"]["verdict"] == verdict
    planned(capsys, *flags, "--detailed-exitcode", code=code)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["-f", "nowhere"], "nowhere: there is no such file or folder"),
        (["-f", "engines", "--base", "no-such"], "git archive: fatal: not a valid object name"),
        (["-f", "engines", "--base=--output=x"], "is not a git revision"),
        (["-f", "{elsewhere}", "--base", "HEAD"], "is not in the repository"),
        (["-f", "broken"], "broken/one.yaml:2: the key a is written twice"),
    ],
)
def test_what_cannot_be_read_is_no_empty_plan(repository, capsys, tmp_path_factory, flags, said):
    Path("broken").mkdir()
    Path("broken/one.yaml").write_text("a: 1\na: 2\n")
    elsewhere = str(tmp_path_factory.mktemp("elsewhere"))
    assert main(["plan", *(flag.format(elsewhere=elsewhere) for flag in flags), *OFFLINE]) == 1
    answer = capsys.readouterr()
    assert said in answer.err
    assert answer.out == ""


def test_standard_input_has_no_revision_before():
    with pytest.raises(ManifestError, match="not standard input"):
        Sources(paths=("-",)).read_at("HEAD")


def test_no_cluster_is_said_and_not_taken_for_an_empty_one(repository, capsys, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", "/nowhere/kubeconfig")
    assert main(["plan", "-f", "engines"]) == 1
    assert "Set KUBECONFIG. Without a cluster, say --offline" in capsys.readouterr().err


def test_duplicate_engines_and_names_are_reported(repository, capsys):
    write("orders", version="2.4.0", engineId="same")
    write("ledger", version="2.4.0", engineId="same")
    found = planned(capsys, "-f", "engines")
    assert found["orders"]["message"].startswith("payments/ledger names the same engine")
    write("orders", folder="more", version="2.4.0", engineId="orders")
    main(["plan", "-f", "engines", "-f", "more", "--offline"])
    assert "engines/orders.yaml has a manifest of the same resource" in capsys.readouterr().out


# --- manifests ------------------------------------------------------------------------------------


def test_lists_other_kinds_and_hidden_folders_are_read_as_kubectl_would(tmp_path):
    manifest = engine_manifest("orders", namespace="payments")
    both = {"apiVersion": "v1", "kind": "List", "items": [manifest, {"kind": "ConfigMap"}]}
    (tmp_path / "list.yaml").write_text("---\n" + yaml.safe_dump(both) + "---\n")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "no.yaml").write_text(yaml.safe_dump(manifest))
    assert [one.name for one in read_paths([tmp_path])] == ["orders"]


def test_a_key_that_is_there_twice_is_refused_with_its_line():
    with pytest.raises(ManifestError, match=r"x:3: the key version is written twice"):
        read_text("spec:\n  version: 2.3.1\n  version: 2.4.0\n", "x")


# --- the result of an apply -----------------------------------------------------------------------


def applied(there: dict[str, Any], manifest: dict[str, Any], **before: Any) -> dict[str, Any]:
    ownership = Ownership(grace=35.0)
    world = World(Cache(ownership, lambda region: region), ownership)
    world.take_in([there])
    [read] = read_text(yaml.safe_dump(manifest))
    world.apply("payments/orders", read, before)
    cached = world.cache.get("payments/orders")
    assert cached is not None
    return {**cached.content.spec, "generation": cached.generation}


def test_fields_that_no_manifest_stated_stay_and_dropped_fields_go():
    there = stored(suspend=True, upgrade={"timeout": "2h", "retryLimit": 1})
    manifest = engine_manifest("orders", namespace="payments")
    assert applied(there, manifest)["suspend"] is True
    assert applied(there, manifest)["generation"] == 1
    assert "suspend" not in applied(there, manifest, suspend=True)
    assert applied(there, manifest, suspend=True)["generation"] == 2
    last = {"kubectl.kubernetes.io/last-applied-configuration": '{"spec": {"suspend": true}}'}
    there["metadata"]["annotations"] = last
    assert "suspend" not in applied(there, manifest)


def test_a_part_of_the_options_keeps_the_others():
    there = stored(upgrade={"timeout": "2h", "retryLimit": 1})
    manifest = engine_manifest("orders", namespace="payments", upgrade={"timeout": "3h"})
    assert applied(there, manifest)["upgrade"] == {"timeout": "3h", "retryLimit": 1}


# --- how it is shown ------------------------------------------------------------------------------


def verdict(kind: Kind = Kind.UPGRADE, **changes: Any) -> Verdict:
    usual: dict[str, Any] = {
        "namespace": "payments",
        "name": "orders",
        "engine_id": "e1",
        "kind": kind,
        "reason": "Submitting",
        "sentence": "the upgrade is called at once",
        "from_version": "2.3.1",
        "to_version": "2.4.0",
        "origin": "engines/orders.yaml",
        "line": 9,
    }
    return Verdict(**(usual | changes))


NOTHING = verdict(Kind.NOTHING, sentence="engine is at 2.4.0")


@pytest.mark.parametrize("form", ["text", "markdown", "github"])
def test_where_nothing_happens_nothing_is_printed(form):
    assert outputs.FORMS[form]([NOTHING]) == ""


def test_people_read_what_happens_and_a_sum():
    held = verdict(
        Kind.HELD,
        name="ledger",
        sentence="held by UpgradePolicy nights until T (OutsideWindow)",
        holds=(Hold("UpgradePolicy nights", "OutsideWindow", "T"),),
    )
    assert outputs.text([verdict(), held, NOTHING]).splitlines() == [
        "► payments/orders  upgrade  2.3.1 → 2.4.0",
        "    the upgrade is called at once",
        "◷ payments/ledger  held     2.3.1 → 2.4.0",
        "    held by UpgradePolicy nights until T (OutsideWindow)",
        "",
        "Plan for 3 engines: 1 upgraded now, 1 held, 1 left as they are.",
    ]


def test_a_comment_begins_with_its_marker_and_is_never_too_long():
    many = [verdict(name=f"engine-{n:05}", sentence="why " * 20) for n in range(2000)]
    comment = outputs.markdown(many)
    assert comment.splitlines()[0] == outputs.MARKER
    assert len(comment) <= outputs.COMMENT_LIMIT
    assert comment.rstrip().endswith("more: see the log.")
    assert "see the log" not in outputs.markdown([verdict()])


def test_no_manifest_writes_mark_up_into_a_comment():
    comment = outputs.markdown([verdict(sentence="<img src=x> @team | [a](b)\n# big", name="`x`")])
    row = comment.splitlines()[-1]
    assert "&lt;img src=x&gt; &#64;team \\| \\[a\\](b) # big" in row
    assert "\\`x\\`" in row


def test_annotations_stand_at_the_line_of_the_version():
    lines = outputs.github(
        [verdict(sentence="100%\nsure"), verdict(Kind.REFUSED, line=None, sentence="no")]
    ).splitlines()
    assert lines[0] == (
        "::warning file=engines/orders.yaml,line=9,"
        "title=payments/orders%3A upgrade 2.3.1 → 2.4.0::100%25%0Asure"
    )
    assert lines[1] == "::error title=payments/orders%3A refused 2.3.1 → 2.4.0::no"


def test_files_are_written_beside_what_is_printed_and_also_where_nothing_happens(
    repository, capsys
):
    flags = ["--output-file", "json=plan.json", "--output-file", "markdown=plan.md"]
    assert main(["plan", "-f", "engines", "--base", "HEAD", "--offline", *flags]) == 0
    answer = capsys.readouterr()
    assert (answer.out, Path("plan.md").read_text()) == ("", "")
    assert "Plan for 0 engines: nothing." in answer.err
    assert json.loads(Path("plan.json").read_text())["engines"] == []


def test_a_call_that_the_vendor_will_refuse_counts_as_refused():
    assert exit_code([verdict()]) == 2
    assert exit_code([verdict(will_be_refused=True)]) == 3
    assert exit_code([verdict(Kind.UNKNOWN)]) == 2
    assert exit_code([NOTHING, verdict(Kind.UPGRADING), verdict(Kind.NOT_OWNER)]) == 0
    assert outputs.is_shown(verdict(Kind.NOTHING, change=Change.ADDED))


@pytest.mark.parametrize(
    "flags", [[], ["-f", "x", "--offline", "--ask-vendor"], ["-f", "x", "--output-file", "pdf=x"]]
)
def test_flags_that_make_no_sense_end_it(flags, capsys):
    with pytest.raises(SystemExit) as ended:
        command.main(flags)
    assert ended.value.code == 2
