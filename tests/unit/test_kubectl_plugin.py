"""`kubectl cse` without a cluster: managers of fields, display, and the plug-in's file."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from cse_operator.core.versions import Comparison, compare
from cse_operator.kubectl import complete, doctor, looks, verbs
from cse_operator.kubectl.call import KubectlError
from cse_operator.kubectl.engine import Engine, State
from cse_operator.kubectl.flags import VERBS
from cse_operator.kubectl.holds import Hold, holds_of
from cse_operator.kubectl.main import main
from cse_operator.kubectl.managers import is_applied, manager_of, states
from cse_operator.kubectl.output import Output, table, wrapped
from cse_operator.kubectl.tree import draw
from support.repository import ROOT

CPU_SECONDS = 0.3
"""The processor time of a start, which a busy machine does not change."""


def resource(
    name: str = "orders",
    *,
    kind: str = "Ready",
    reason: str = "UpToDate",
    phase: str = "UpToDate",
    metadata: dict[str, Any] | None = None,
    spec: dict[str, Any] | None = None,
    **status: Any,
) -> dict[str, Any]:
    ready = {"type": "Ready", "status": str(kind == "Ready"), "reason": reason}
    others = [] if kind == "Ready" else [{"type": kind, "status": "True", "reason": reason}]
    return {
        "metadata": {"namespace": "payments", "name": name, "generation": 2, **(metadata or {})},
        "spec": {"engineId": "e1", "region": "cn-north-4", "version": "2.4.0", **(spec or {})},
        "status": {
            "observedGeneration": 2,
            "phase": phase,
            "message": "the sentence",
            "currentVersion": "2.3.1",
            "conditions": [*others, ready],
            **status,
        },
    }


# --- managers of fields ---------------------------------------------------------------------------

TRACKED = "cse-operator.io/MicroserviceEngine:payments/orders"


def fields(manager: str, time: str, **spec: Any) -> dict[str, Any]:
    stated = {f"f:{name}": {} for name in spec}
    return {"manager": manager, "time": time, "fieldsV1": {"f:spec": stated}}


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (
            {"annotations": {"argocd.argoproj.io/tracking-id": f"engines:{TRACKED}"}},
            "managed by Argo CD (Application engines)",
        ),
        (
            {
                "labels": {"app.kubernetes.io/instance": "engines"},
                "managedFields": [fields("argocd-controller", "1")],
            },
            "managed by Argo CD (Application engines)",
        ),
        (
            {
                "labels": {
                    "kustomize.toolkit.fluxcd.io/name": "fleet",
                    "kustomize.toolkit.fluxcd.io/namespace": "flux-system",
                }
            },
            "managed by Flux (Kustomization flux-system/fleet)",
        ),
        (
            {
                "labels": {
                    "helm.toolkit.fluxcd.io/name": "fleet",
                    "helm.toolkit.fluxcd.io/namespace": "apps",
                }
            },
            "managed by Flux (HelmRelease apps/fleet)",
        ),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {
                    "meta.helm.sh/release-name": "fleet",
                    "meta.helm.sh/release-namespace": "apps",
                },
            },
            "managed by Helm (release apps/fleet)",
        ),
        ({"annotations": {"configsync.gke.io/declared-version": "1"}}, "managed by Config Sync"),
        ({"labels": {"objectset.rio.cattle.io/hash": "1"}}, "managed by Fleet"),
        ({"labels": {"kapp.k14s.io/app": "1"}}, "managed by kapp"),
        ({"managedFields": [fields("Terraform", "1", version=1)]}, "managed by Terraform"),
    ],
)
def test_each_tool_is_known_by_the_signs_that_it_leaves(metadata, said):
    manager = manager_of(resource(metadata=metadata))
    assert manager is not None
    assert manager.sentence() == said


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"annotations": {"argocd.argoproj.io/tracking-id": f"engines:{TRACKED}-copied"}},
        {"labels": {"app.kubernetes.io/instance": "engines"}},
        {"managedFields": [fields("kubectl-edit", "1", version=1)]},
        {"managedFields": [fields("helm", "1", version=1), fields("kubectl-edit", "2", version=1)]},
    ],
)
def test_what_no_tool_manages_is_free(metadata):
    assert manager_of(resource(metadata=metadata)) is None


def test_a_field_is_stated_by_the_tool_whose_fields_hold_it():
    managed = resource(metadata={"managedFields": [fields("argocd-controller", "1", suspend=1)]})
    assert states(managed, "suspend")
    assert not states(managed, "version")
    by_hand = resource(metadata={"managedFields": [fields("kubectl-cse", "1", suspend=1)]})
    assert not states(by_hand, "suspend")
    assert not is_applied(by_hand)
    applied = {**fields("ci", "1", suspend=1), "operation": "Apply"}
    by_pipeline = resource(metadata={"managedFields": [applied]})
    assert states(by_pipeline, "suspend")
    assert is_applied(by_pipeline)
    assert manager_of(by_pipeline) is None


# --- holds ----------------------------------------------------------------------------------------


def test_policies_that_hold_an_engine_are_named_with_their_time():
    held = [
        {"kind": "UpgradePolicy", "policy": "nights", "reason": "OutsideWindow", "until": "T"},
        {"reason": "NoPolicy"},
    ]
    found = holds_of(resource(kind="Reconciling", reason="OutsideWindow", held=held))
    assert found == (
        Hold("UpgradePolicy nights", "OutsideWindow", "T"),
        Hold("the operator", "NoPolicy", None),
    )
    assert found[0].sentence() == "held by UpgradePolicy nights until T (OutsideWindow)"


def test_suspend_and_observe_only_hold_it_too():
    assert holds_of(resource(kind="Reconciling", reason="Suspended"))[0].by == "spec.suspend"
    observed = holds_of(resource(kind="Reconciling", reason="ObserveOnly"))
    assert observed[0].by == "the operator's --observe-only"
    assert holds_of(resource()) == ()


def test_a_status_of_an_earlier_spec_holds_nothing():
    stale = resource(kind="Reconciling", reason="Suspended", observedGeneration=1)
    assert holds_of(stale) == ()
    assert Engine(stale).state is State.UNSEEN


# --- display --------------------------------------------------------------------------------------


def drawn(*resources: dict[str, Any], whole: bool = False) -> list[str]:
    output = Output(out=io.StringIO())
    return draw([Engine(one) for one in resources], output, whole=whole).splitlines()


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def test_equal_engines_share_a_line_and_a_faulty_one_is_shown_in_full():
    good = [resource(f"fine-{n:02}", currentVersion="2.4.0") for n in range(12)]
    bad = resource("broken", kind="Stalled", reason="UpgradeFailed", message="it " * 60)
    lines = drawn(*good, bad)
    assert lines[0] == "payments: 12 up to date, 1 in need of a person"
    assert lines[1] == "├─ ✗ broken  2.3.1 → 2.4.0  UpgradeFailed"
    assert lines[2].startswith("│  ├─ engine   e1 in cn-north-4")
    assert lines[3].startswith("│  └─ why      it it")
    assert lines[-2].startswith("└─ ✔ 12 2.4.0 UpToDate: fine-00, fine-01")
    assert lines[-1].endswith("and 4 more")
    assert max(map(len, lines)) <= 80
    assert len(drawn(*good, bad, whole=True)) > 12 * 2


def test_those_that_one_policy_holds_stand_together():
    held = [{"kind": "UpgradePolicy", "policy": "nights", "reason": "OutsideWindow", "until": "T"}]
    waiting = [
        resource(name, kind="Reconciling", reason="OutsideWindow", phase="Waiting", held=held)
        for name in ("a", "b", "c")
    ]
    other = resource("d", kind="Reconciling", reason="EngineBusy", phase="Waiting")
    text = " ".join(" ".join(drawn(*waiting, other)).split())
    assert "3 2.3.1 → 2.4.0 OutsideWindow, held by UpgradePolicy nights until T" in text
    assert "◷ d 2.3.1 → 2.4.0 EngineBusy" in text


def test_the_steps_of_a_job_are_shown():
    running = resource(
        kind="Reconciling",
        reason="Upgrading",
        phase="Upgrading",
        upgrade={
            "action": "Upgrade",
            "fromVersion": "2.3.1",
            "targetVersion": "2.4.0",
            "jobId": 7,
            "jobStatus": "Executing",
            "progress": {"completed": 3, "total": 7, "step": "verify"},
        },
        engine={"name": "orders", "type": "CSE", "status": "Upgrading"},
    )
    text = "\n".join(drawn(running))
    assert "upgrade  Upgrade 2.3.1 → 2.4.0, job 7, Executing" in text
    assert "steps    3 of 7 steps done, now verify" in text


def test_no_text_of_the_vendor_steers_a_terminal():
    evil = resource(kind="Stalled", reason="UpgradeFailed", message="\x1b[2Jgone\nsecond")
    assert "\x1b" not in "".join(drawn(evil))
    assert "\x1b" not in wrapped("a\x1bb", 80, "")
    assert "\x1b" not in table(["A"], [["\x1b[1m"]])


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec="ascii")),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text(st.characters(codec="ascii"), max_size=5), inner, max_size=3)
        ),
    )
)
def test_the_yaml_that_is_shown_says_what_the_json_says(value):
    form = io.StringIO()
    Output("yaml", out=form).show([{"name": "orders", "value": value}], "")
    assert yaml.safe_load(form.getvalue()) == [{"name": "orders", "value": value}]


# --- waiting --------------------------------------------------------------------------------------


class FakeKubectl:
    """A kubectl that gives the answers of a list, one after the other."""

    everywhere = False

    def __init__(self, *answers: list[dict[str, Any]] | Exception) -> None:
        self.answers = list(answers)

    def engines(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def waited(*answers: list[dict[str, Any]] | Exception, timeout: float = 100.0) -> tuple[int, float]:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    kubectl: Any = FakeKubectl(*answers)
    code = looks.wait(
        kubectl, Output(), ["orders"], timeout=timeout, clock=lambda: now[0], sleep=sleep
    )
    return code, now[0]


MOVING = resource(kind="Reconciling", reason="Upgrading", phase="Upgrading")
STALLED = resource(kind="Stalled", reason="UpgradeFailed", phase="Failed")


def test_a_wait_says_each_thing_once_and_ends_well(capsys):
    assert waited([MOVING], [MOVING], [resource()]) == (0, 2 * looks.EVERY)
    assert capsys.readouterr().err.splitlines() == [
        "► orders: the sentence",
        "✔ orders: the sentence",
    ]


def test_a_wait_ends_as_soon_as_one_needs_a_person():
    assert waited([MOVING, resource("b")], [STALLED, resource("b")])[0] == 1


def test_an_api_server_that_is_away_for_a_moment_ends_no_wait(capsys):
    away = KubectlError("connection refused")
    assert waited([MOVING], away, away, [resource()])[0] == 0
    assert capsys.readouterr().err.count("looking again: connection refused") == 1


@pytest.mark.parametrize(
    "answers",
    [
        [KubectlError("connection refused")],
        [[MOVING], KubectlError('Error from server (NotFound): "orders" not found')],
        [[MOVING], KubectlError("Error from server (Forbidden): no")],
    ],
)
def test_an_error_that_waiting_does_not_cure_ends_the_wait(answers):
    with pytest.raises(KubectlError):
        waited(*answers)


def test_a_status_of_the_spec_before_ends_no_wait():
    assert waited([resource(observedGeneration=1)], timeout=5) == (124, 5)
    assert waited([resource(kind="Stalled", observedGeneration=1)], timeout=5)[0] == 124


# --- forms ----------------------------------------------------------------------------------------


def test_each_verb_has_the_forms_that_its_page_promises(capsys):
    page = " ".join((ROOT / "docs/kubectl-cse.md").read_text().split())
    assert "`doctor` has no `-o name`, and `status -w` only shows text" in page
    for refused in (["doctor", "-o", "name"], ["status", "-w", "-o", "json"]):
        with pytest.raises(SystemExit) as ended:
            main(refused)
        assert ended.value.code == 2


# --- doctor ---------------------------------------------------------------------------------------


def doctored(*engines: dict[str, Any]) -> dict[str, str]:
    kubectl: Any = FakeKubectl(list(engines))
    return {found.subject: found.mark for found in doctor._engines(kubectl)}


def test_only_what_was_left_alone_for_long_accuses_the_operator():
    long_ago = {"creationTimestamp": "2020-01-01T00:00:00Z"}
    now = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
    unseen = resource(metadata=long_ago, observedGeneration=1)
    assert doctored(unseen)["operator"] == "PROBLEM"
    changed = {**long_ago, "managedFields": [fields("kubectl-edit", now, version=1)]}
    assert doctored(resource(metadata=changed, observedGeneration=1))["operator"] == "ok"
    by_operator = {**fields("cse-operator", now), "subresource": "status"}
    left_alone = {**long_ago, "managedFields": [by_operator]}
    assert doctored(resource(metadata=left_alone, observedGeneration=1))["operator"] == "PROBLEM"


def test_what_doctor_suggests_finds_the_resource_from_any_namespace():
    kubectl: Any = FakeKubectl([resource(kind="Stalled", reason="UpgradeFailed", phase="Failed")])
    way_out = list(doctor._engines(kubectl))[-1].way_out
    assert way_out == "kubectl cse status orders -n payments"


# --- versions -------------------------------------------------------------------------------------

VERSION = st.lists(st.integers(0, 3), min_size=1, max_size=5).map(
    lambda parts: ".".join(map(str, parts))
)


@given(VERSION | st.just("2.4.0-x"), VERSION | st.just("2.4.0-x"))
def test_plugin_and_operator_refuse_the_same_downgrades(wanted, current):
    beyond = compare(current, wanted) is Comparison.BEYOND
    assert verbs._is_behind(wanted, current) == beyond


# --- the file of the plug-in ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, str(ROOT / "hack/kubectl_cse.py"), str(folder)]
    subprocess.run(command, check=True)
    subprocess.run([*command, "https://git.example.com/team/cse-operator"], check=True)
    return folder


def test_one_file_runs_with_nothing_but_python(built: Path):
    # -S: no site-packages. -I: neither this folder nor the environment.
    command = [sys.executable, "-I", "-S", str(built / "kubectl-cse"), "--help"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert all(verb in shown for verb in VERBS)
    assert max(map(len, shown.splitlines())) <= 100


def test_an_older_python_is_told_what_is_missing(built: Path):
    program = (
        "import runpy, sys; sys.version_info = (3, 9, 6); "
        f"runpy.run_path({str(built / 'kubectl-cse')!r}, run_name='__main__')"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert result.stderr.startswith("kubectl cse needs Python 3.11 or later")


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_every_verb_fits_into_a_terminal(capsys, verb):
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_it_starts_within_its_budget(built: Path):
    command = [sys.executable, "-I", "-S", str(built / "kubectl-cse"), "--version"]
    spent = []
    for _ in range(3):
        before = os.times()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = os.times()
        spent.append(
            after.children_user
            - before.children_user
            + after.children_system
            - before.children_system
        )
    assert min(spent) < CPU_SECONDS


def test_the_archive_is_the_same_from_the_same_sources_and_has_the_licence(built: Path, tmp_path):
    again = [sys.executable, str(ROOT / "hack/kubectl_cse.py"), str(tmp_path)]
    subprocess.run([*again, "https://git.example.com/team/cse-operator"], check=True)
    for name in ("kubectl-cse.tar.gz", "cse.yaml"):
        assert (built / name).read_bytes() == (tmp_path / name).read_bytes()
    with tarfile.open(built / "kubectl-cse.tar.gz") as archive:
        assert {one.name: one.mode for one in archive} == {"kubectl-cse": 0o755, "LICENSE": 0o644}
        plugin = archive.extractfile("kubectl-cse")
        assert plugin is not None
        assert plugin.read() == (built / "kubectl-cse").read_bytes()


# --- completion -----------------------------------------------------------------------------------


def test_completion_proposes_verbs_flags_and_says_nothing_of_files(capsys):
    assert complete.main(["st"]) == 0
    assert capsys.readouterr().out == "status\tshow the state of engines, and what holds them\n:4\n"
    assert ("--timeout", "such as 90s, 30m, 2h (2h)") in complete.candidates(["wait", "--ti"])
    assert complete.candidates(["completion", ""])[0][0] == "kubectl"


def test_completion_of_names_is_quiet_where_there_is_no_cluster(monkeypatch):
    def fails(*_: Any) -> str:
        raise KubectlError("nobody there")

    monkeypatch.setattr("cse_operator.kubectl.call.Kubectl.run", fails)
    assert complete.candidates(["status", ""]) == []


def test_without_kubectl_it_says_so(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["status"]) == 1
    assert "kubectl cannot be run: No such file" in capsys.readouterr().err


def test_json_is_what_programs_read(capsys):
    Output("json").show([Engine(resource()).summary()], "")
    [found] = json.loads(capsys.readouterr().out)
    assert (found["name"], found["state"], found["desired"]) == ("orders", "Good", "2.4.0")
