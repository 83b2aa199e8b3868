"""`kubectl cse` with the real kubectl and API server, as a user with narrow rights."""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_simulator.vendor.jobs import JobPlan
from support import plugin
from support.installation import rights_in, rights_once_granted
from support.plugin import Plugin
from support.repository import ROOT
from support.scene import Scene, ready

VIEW, EDIT = "cse-engines-view", "cse-engines-edit"


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plugin.build(tmp_path_factory.mktemp("plugin"))


def person(scene: Scene, folder: Path, kubeconfig: Path, role: str) -> Plugin:
    """Return a user who has one of the roles for people, in the scene's namespace only."""
    name = f"person-{secrets.token_hex(3)}"
    roles = yaml.safe_load_all((ROOT / "deploy/roles/roles.yaml").read_text())
    [found] = [one for one in roles if one["metadata"]["name"] == role]
    granted = {**found, "kind": "Role", "metadata": {"name": name}}
    core = f"/api/v1/namespaces/{scene.namespace}"
    rbac = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{scene.namespace}"
    scene.cluster.request("POST", f"{core}/serviceaccounts", {"metadata": {"name": name}})
    scene.cluster.request("POST", f"{rbac}/roles", granted)
    subject = {"kind": "ServiceAccount", "name": name, "namespace": scene.namespace}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}
    scene.cluster.request("POST", f"{rbac}/rolebindings", binding)
    token = scene.cluster.service_account_token(scene.namespace, name)
    wanted = rights_in([granted])
    assert rights_once_granted(scene.cluster, token, scene.namespace, wanted) >= wanted
    path = scene.cluster.write_kubeconfig(kubeconfig / name, token, scene.namespace)
    return Plugin(scene.cluster, folder, path)


@pytest.fixture
def editor(scene: Scene, folder: Path, tmp_path: Path) -> Plugin:
    return person(scene, folder, tmp_path, EDIT)


@pytest.fixture
def viewer(scene: Scene, folder: Path, tmp_path: Path) -> Plugin:
    return person(scene, folder, tmp_path, VIEW)


def interrupted(person: Plugin, *arguments: str) -> int:
    """Run the command, interrupt it after its first sentence, and return its exit code."""
    # Run the plug-in's own file, which kubectl becomes too, so that the signal reaches it. A shell
    # that runs the tests in the background ignores SIGINT, and its children inherit that.
    command = ["env", "--default-signal=INT", str(folder_of(person) / "kubectl-cse"), *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=person.environment) as running:
        assert running.stderr is not None
        assert running.stderr.readline()
        running.send_signal(signal.SIGINT)
        try:
            return running.wait(30)
        finally:
            running.kill()


def shell(script: str, *arguments: str, env: dict[str, str]) -> str:
    """Run a script, and return what it printed."""
    return subprocess.run(
        ["sh", "-c", script, "sh", *arguments],
        env=env,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


def folder_of(person: Plugin) -> Path:
    return Path(person.environment["PATH"].partition(":")[0])


def parsed(text: str) -> Any:
    return json.loads(text)


# --- an upgrade by hand, from its spec to its end -------------------------------------------------


async def test_a_person_upgrades_waits_and_reads_what_became_of_it(scene: Scene, editor: Plugin):
    scene.secret()
    engine = scene.engine("orders")
    scene.resource(engine, version="2.3.1")
    await scene.until_reason("orders", "UpToDate")
    assert "✔ orders  2.3.1  UpToDate" in editor("status", "orders")

    assert "say --yes if you mean it" in editor("upgrade", "orders", "2.4.0", code=3)
    assert "cannot go back" in editor("upgrade", "orders", "2.2.0", "--yes", code=3)
    assert scene.changing_calls() == []
    assert "orders: wants 2.4.0" in editor("upgrade", "orders", "2.4.0", "--yes")
    assert "✔ orders: engine is at 2.4.0" in editor("wait", "orders", "--timeout", "60s")
    assert scene.accepted(engine) == {"2.4.0": 1}

    assert "nothing to do" in editor("upgrade", "orders", "2.4.0", "--yes", code=3)
    lines = editor("history").splitlines()
    assert lines[0].split() == ["NAME", "FINISHED", "CALL", "FROM", "TO", "JOB", "RESULT"]
    assert lines[1].split()[2:5] == ["Upgrade", "2.3.1", "2.4.0"]


async def test_a_failure_ends_the_wait_and_a_retry_unlocks_it(scene: Scene, editor: Plugin):
    scene.secret()
    engine = scene.engine("orders")
    scene.admin.plan_jobs(JobPlan(outcome="error"), engine.id)
    scene.resource(engine, upgrade={"retryLimit": 0})
    said = editor("wait", "orders", "--timeout=60s", code=1)
    assert "✗ orders: the upgrade to 2.4.0 failed" in said
    shown = editor("status")
    assert "1 in need of a person" in shown
    assert "├─ upgrade  Upgrade 2.3.1 → 2.4.0, job " in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "PROBLEM  upgrades: a person is needed for orders" in editor("doctor", code=1)

    assert "orders: asked for a retry" in editor("retry", "orders")
    assert "✔ orders" in editor("wait", "orders", "--timeout=60s")
    assert "nothing to retry" in editor("retry", "orders", code=3)


async def test_a_wait_ends_after_its_time_and_when_it_is_interrupted(scene: Scene, editor: Plugin):
    scene.secret()
    scene.resource(scene.engine("orders"), suspend=True)
    await scene.until_reason("orders", "Suspended")
    assert "not at their versions after 1 s: orders" in editor(
        "wait", "orders", "--timeout=1s", code=124
    )
    assert interrupted(editor, "wait", "orders") == 130
    assert scene.changing_calls() == []


# --- verbs ----------------------------------------------------------------------------------------


async def test_suspend_resume_and_refresh_do_what_they_say(scene: Scene, editor: Plugin):
    scene.secret()
    scene.resource(scene.engine("orders"), suspend=True)
    scene.resource(scene.engine("ledger"), version="2.3.1")
    await scene.until_reason("orders", "Suspended")
    shown = editor("status", "orders")
    assert "├─ held     by spec.suspend (Suspended)" in shown
    assert "nothing to do, it is suspended already" in editor("suspend", "orders", code=3)
    assert editor("suspend", "ledger") == "ledger: suspended\n"
    assert scene.get("ledger")["spec"]["suspend"] is True
    assert editor("resume", "orders", "ledger").split() == [
        *("orders:", "resumed"),
        *("ledger:", "resumed"),
    ]
    await scene.until_reason("orders", "UpToDate")
    editor("refresh", "ledger")
    asked = scene.get("ledger")["metadata"]["annotations"]["cse-operator.io/reconcile-requested-at"]
    await scene.until("ledger", lambda item: item["status"]["lastHandledReconcileAt"] == asked)


async def test_an_approval_names_the_wanted_version_and_the_user(scene: Scene, editor: Plugin):
    scene.secret()
    scene.resource(scene.engine("orders"), suspend=True)
    assert "its desired version is 2.4.0, not 2.5.0" in editor("approve", "orders", "2.5.0", code=3)
    said = editor("approve", "orders")
    annotations = scene.get("orders")["metadata"]["annotations"]
    assert annotations["cse-operator.io/approved-version"] == "2.4.0"
    by = annotations["cse-operator.io/approved-by"]
    assert by.startswith(f"system:serviceaccount:{scene.namespace}:person-")
    assert said == f"orders: approved by {by}\n"
    assert "is approved already" in editor("approve", "orders", "2.4.0", code=3)
    managers = {
        entry["manager"]
        for entry in scene.kubectl.json(
            "get", "mse", "orders", "-n", scene.namespace, "--show-managed-fields"
        )["metadata"]["managedFields"]
    }
    assert "flux-client-side-apply" in managers


async def test_the_plugin_does_not_change_fields_that_git_manages(scene: Scene, editor: Plugin):
    scene.secret()
    name = scene.resource(scene.engine("orders"), version="2.3.1")
    tracking = f"engines:cse-operator.io/MicroserviceEngine:{scene.namespace}/{name}"
    scene.kubectl(
        *("annotate", "mse", name, "-n", scene.namespace),
        f"argocd.argoproj.io/tracking-id={tracking}",
    )
    said = editor("upgrade", name, "2.4.0", "--yes", code=3)
    assert "managed by Argo CD (Application engines)" in said
    assert "change spec.version to 2.4.0 in Git instead" in said
    assert scene.get(name)["spec"]["version"] == "2.3.1"
    assert "which does not state spec.suspend, so this stays" in editor("suspend", name)
    said = editor("upgrade", name, "2.4.0", "--yes", "--force-local")
    assert "which may revert this" in said
    assert scene.get(name)["spec"]["version"] == "2.4.0"


async def test_a_viewer_is_told_which_right_is_missing(scene: Scene, viewer: Plugin):
    scene.secret()
    scene.resource(scene.engine("orders"), version="2.3.1")
    await scene.until_reason("orders", "UpToDate")
    said = viewer("doctor")
    assert "note     right to patch: you may not patch" in said
    assert "ok       operator: an operator looks at them" in said
    assert "forbidden" in viewer("suspend", "orders", code=1)
    assert "forbidden" in viewer("status", "-A", code=1)
    assert scene.get("orders")["spec"]["suspend"] is False


# --- forms ----------------------------------------------------------------------------------------


async def test_every_verb_has_its_forms(scene: Scene, editor: Plugin):
    scene.secret()
    scene.resource(scene.engine("orders"), version="2.3.1")
    item = await scene.until_reason("orders", "UpToDate")
    [found] = parsed(editor("status", "-o", "json"))
    assert found["reason"] == ready(item)["reason"]
    assert yaml.safe_load(editor("status", "-o", "yaml")) == [found]
    assert editor("status", "-o", "name") == "microserviceengine.cse-operator.io/orders\n"
    assert parsed(editor("history", "-o", "json")) == []
    [changed] = parsed(editor("suspend", "orders", "-o", "json"))
    assert (changed["verb"], changed["changed"]) == ("suspended", True)
    assert "\x1b[" not in editor("status")
    assert "\x1b[" in editor("status", "--color=always")
    everything = parsed(Plugin(scene.cluster, folder_of(editor))("status", "-A", "-o", "json"))
    assert scene.namespace in {one["namespace"] for one in everything}


def test_wrong_arguments_are_explained(editor: Plugin):
    assert "NotFound" in editor("status", "nobody", code=1)
    assert "invalid choice" in editor("upgrad", code=2)
    assert "--watch shows text" in editor("status", "-w", "-o", "json", code=2)
    assert "There are no engines here" in editor("status")


async def test_kubectl_completes_verbs_flags_and_names(scene: Scene, editor: Plugin):
    scene.resource(scene.engine("orders"))

    def completed(*words: str) -> list[str]:
        return editor.run("cse", *words, verb="__complete").stdout.splitlines()

    assert completed("re")[:4] == [
        "resume\tend the suspension",
        "retry\tunlock a failed or refused upgrade once",
        "refresh\thave the operator look at the engine now",
        ":4",
    ]
    assert completed("status", "")[:2] == ["orders", ":4"]
    assert completed("wait", "--time")[:2] == ["--timeout\tsuch as 90s, 30m, 2h (2h)", ":4"]
    script = editor.run("completion", "kubectl")
    assert script.stdout == '#!/bin/sh\nexec kubectl cse __complete "$@"\n'
    assert shell(script.stdout, "status", "ord", env=editor.environment) == "orders\n:4\n"
