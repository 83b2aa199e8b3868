"""docs/policies: the real API server accepts each manifest, and the operator evaluates it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.core.policies import read_policy
from support import plugin
from support.engines import engine_manifest
from support.installation import kustomized
from support.kubectl import Kubectl
from support.plugin import Plugin
from support.policies import policy_manifest
from support.repository import ROOT

PAGES = sorted((ROOT / "docs" / "policies").glob("*.md"))
KINDS = {"UpgradePolicy", "ClusterUpgradePolicy", "MicroserviceEngine"}
APPROVED = "cse-operator.io/approved-version"
SIGNED = "cse-operator.io/approved-by"


def manifests(page: Path) -> list[dict[str, Any]]:
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    found = [yaml.safe_load(block) for block in blocks]
    return [item for item in found if item.get("kind") in KINDS]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_each_manifest_of_a_page_is_taken_and_can_be_evaluated(
    kubectl: Kubectl, namespace: str, page: Path
) -> None:
    found = manifests(page)
    assert found or page.stem in {"README", "gitops"}
    for item in found:
        if "namespace" in item["metadata"]:
            item["metadata"]["namespace"] = namespace
        flags = ("--server-side", "--dry-run=server", "--validate=strict")
        kubectl("apply", *flags, "-f", "-", stdin=yaml.safe_dump(item))
        if item["kind"] != "MicroserviceEngine":
            item["metadata"]["uid"] = "1"
            assert read_policy(item).invalid is None


def test_every_need_has_a_page_and_every_page_is_named() -> None:
    index = (ROOT / "docs" / "policies" / "README.md").read_text(encoding="utf-8")
    linked = set(re.findall(r"\(([a-z-]+)\.md\)", index))
    assert linked == {page.stem for page in PAGES} - {"README"}


def test_who_edits_does_not_approve_and_who_approves_does_not_edit(
    private_control_plane: Any, tmp_path: Path
) -> None:
    """The approval component on the real API server, with a user of each role."""
    cluster = private_control_plane.cluster
    admin = Kubectl(cluster)
    admin("apply", "-k", str(ROOT / "crds"))
    admin("wait", "--for=condition=Established", "crd", "--all")
    folder = tmp_path / "k"
    folder.mkdir()
    component = Path("../" * 12 + str(ROOT)) / "deploy" / "components" / "approval"
    text = {"kind": "Kustomization", "components": [str(component)]}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(text))
    admin("apply", "-f", "-", stdin=yaml.safe_dump_all(kustomized(admin, folder)))
    admin("apply", "-k", str(ROOT / "deploy" / "roles"))
    people = {
        person: _person(admin, cluster, tmp_path, person, role)
        for person, role in (("editor", "cse-engines-edit"), ("approver", "cse-engines-approve"))
    }
    editor, approver = people["editor"], people["approver"]
    name = "system:serviceaccount:default:{}".format
    editor(
        "create", "-f", "-", stdin=yaml.safe_dump(engine_manifest("orders", namespace="default"))
    )
    _until_it_is_enforced(editor)

    def refused(person: Kubectl, *arguments: str) -> str:
        result = person.run(*arguments)
        assert result.returncode != 0, result.stdout
        return result.stderr

    def annotate(version: str, by: str) -> tuple[str, ...]:
        return (
            "annotate",
            "--overwrite",
            "mse",
            "orders",
            f"{APPROVED}={version}",
            f"{SIGNED}={by}",
        )

    assert "needs the verb approve" in refused(editor, *annotate("2.4.0", name("editor")))
    said = refused(approver, *annotate("2.3.9", name("approver")))
    assert "the desired version is 2.4.0" in said
    said = refused(approver, *annotate("2.4.0", name("editor")))
    assert "approved-by must be system:serviceaccount:default:approver" in said
    change = '{"spec":{"version":"2.5.0"}}'
    assert "verb update" in refused(
        approver, "patch", "mse", "orders", "--type=merge", "-p", change
    )
    signed = {APPROVED: "2.5.0", SIGNED: name("approver")}
    both = json.dumps({"metadata": {"annotations": signed}, "spec": {"version": "2.5.0"}})
    assert "of its own" in refused(approver, "patch", "mse", "orders", "--type=merge", "-p", both)

    for command in _commands_that_approve():
        _run_as(cluster, tmp_path / "approver.kubeconfig", command)
        editor("annotate", "mse", "orders", f"{APPROVED}-", f"{SIGNED}-")

    # Again with kubectl cse, which signs by itself.
    folder = plugin.build(tmp_path / "plugin")
    by_plugin = {
        person: Plugin(cluster, folder, tmp_path / f"{person}.kubeconfig") for person in people
    }
    assert "needs the verb approve" in by_plugin["editor"]("approve", "orders", code=1)
    said = by_plugin["approver"]("approve", "orders", "2.4.0")
    assert said == f"orders: approved by {name('approver')}\n"
    editor("patch", "mse", "orders", "--type=merge", "-p", change)


def _commands_that_approve() -> list[str]:
    """Return the commands of the page that need only kubectl: usual, and with Flux."""
    page = ROOT / "docs" / "policies" / "approve-in-the-cluster.md"
    text = page.read_text(encoding="utf-8")
    found = re.findall(r"^```sh\n(kubectl annotate .*?)^```", text, re.MULTILINE | re.DOTALL)
    assert len(found) == 2
    return found


def _run_as(cluster: Any, kubeconfig: Path, command: str) -> None:
    """Run a command of the page as a person, in the namespace of this test."""
    ours = command.replace("kubectl ", f"{cluster.kubectl} --kubeconfig={kubeconfig} ")
    subprocess.run(["bash", "-c", ours.replace("-n payments", "-n default")], check=True)


def _person(admin: Kubectl, cluster: Any, folder: Path, person: str, role: str) -> Kubectl:
    admin("create", "serviceaccount", person)
    flags = (f"--clusterrole={role}", f"--serviceaccount=default:{person}")
    admin("create", "rolebinding", person, *flags)
    token = cluster.service_account_token("default", person)
    return Kubectl(cluster, cluster.write_kubeconfig(folder / f"{person}.kubeconfig", token))


def _until_it_is_enforced(editor: Kubectl) -> None:
    """Wait for an admission policy, which the API server enforces after a moment."""
    for _ in range(100):
        result = editor.run("annotate", "--dry-run=server", "mse", "orders", f"{APPROVED}=2.4.0")
        if result.returncode != 0:
            return
        editor("version")
    raise AssertionError("the admission policy is not enforced")


def test_a_policy_shows_itself_in_columns(kubectl: Kubectl, namespace: str) -> None:
    kubectl("create", "-f", "-", stdin=yaml.safe_dump(policy_manifest(namespace)))
    shown = kubectl("get", "upol", "-n", namespace)
    for column in ("WINDOW", "SELECTED", "REACHED", "IN FLIGHT", "FAILED", "NEXT OPEN"):
        assert column in shown.splitlines()[0]
