"""docs/install.md: the files that it names exist, and its examples work."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from support.chart_tools import BUILD_SECONDS, CHART, Helm
from support.installation import kustomization, kustomized, the
from support.kubectl import Kubectl
from support.repository import ROOT

PAGE = (ROOT / "docs" / "install.md").read_text(encoding="utf-8")
CHART_README = (CHART / "README.md").read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(?:sh|yaml)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
HERE_DOCUMENTS = re.findall(r"<<EOF\n(.*?)^EOF$", PAGE, re.MULTILINE | re.DOTALL)


YAML = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
OTHER_PAGES = (ROOT / "docs" / "keyless.md", *sorted((ROOT / "docs" / "policies").glob("*.md")))
OF_OTHER_PAGES = [
    pytest.param(block, id=page.stem)
    for page in OTHER_PAGES
    for block in YAML.findall(page.read_text(encoding="utf-8"))
    if block.startswith("apiVersion: kustomize.config")
]


def beside_deploy(folder: Path, text: str) -> Path:
    """Write a kustomization into a folder beside `deploy`, as the pages say."""
    (folder / "deploy").symlink_to(ROOT / "deploy")
    ours = folder / "our-operator"
    ours.mkdir()
    (ours / "kustomization.yaml").write_text(text)
    return ours


def commands_of(section: str) -> list[list[str]]:
    """Return the commands of each shell block in a section of the page."""
    text = PAGE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    joined = [re.sub(r" *\\\n *", " ", block) for block in blocks]
    return [[line for line in block.splitlines() if line] for block in joined]


@pytest.mark.parametrize("section", ["Upgrading", "Rolling back the operator", "Uninstalling"])
def test_a_block_of_commands_is_for_one_tool(section: str) -> None:
    """A reader copies a block as a whole, so it has no alternatives."""
    ways = {"helm": r"^helm ", "files": r"kubectl \S+ -f ", "kustomize": r"kubectl \S+ -k "}
    for block in commands_of(section):
        used = [way for way, said in ways.items() if any(re.search(said, line) for line in block)]
        assert len(used) <= 1, block


@pytest.mark.parametrize("section", ["Upgrading", "High availability", "Monitoring"])
def test_no_command_over_an_installed_operator_sets_its_image_back(section: str) -> None:
    for line in (line for block in commands_of(section) for line in block):
        assert not re.search(r"apply -k deploy/(base|overlays)", line), line
        if "deploy/helm" in line:
            assert "--set image.repository=" in line


def test_every_file_it_names_is_there() -> None:
    named = {*re.findall(r"\b(?:deploy|crds|docs)/[-\w./]*\w|\bcrds\b", PAGE)}

    assert "deploy/overlays/namespaced" in named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


@pytest.mark.parametrize(
    "text", [block for block in BLOCKS + HERE_DOCUMENTS if block.startswith("apiVersion: kustom")]
)
def test_a_kustomization_it_shows_names_an_image_and_can_be_applied(
    kubectl: Kubectl, tmp_path: Path, text: str
) -> None:
    deployment = the(kustomized(kubectl, beside_deploy(tmp_path, text)), "Deployment")

    shown = yaml.safe_load(text)
    assert deployment["metadata"]["namespace"] == shown["namespace"]
    [image] = shown["images"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{image['newName']}:{image['newTag']}"


def test_the_digest_it_shows_names_a_released_image(kubectl: Kubectl, tmp_path: Path) -> None:
    [shown] = [block for block in BLOCKS if "    # digest: sha256:…\n" in block]
    digest = f"sha256:{'0' * 64}"
    text = re.sub(r"    newTag: .*\n", "", shown).replace("# digest: sha256:…", f"digest: {digest}")

    deployment = the(kustomized(kubectl, beside_deploy(tmp_path, text)), "Deployment")

    [image] = yaml.safe_load(text)["images"]
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"{image['newName']}@{digest}"


@pytest.mark.parametrize("text", OF_OTHER_PAGES)
def test_a_kustomization_of_another_page_has_the_same_layout(
    kubectl: Kubectl, tmp_path: Path, text: str
) -> None:
    assert kustomized(kubectl, beside_deploy(tmp_path, text))


def test_the_service_account_takes_the_pull_secret_that_it_shows(
    kubectl: Kubectl, namespace: str
) -> None:
    [patch] = re.findall(r"--patch '(\{.*\})'", PAGE)
    kubectl("-n", namespace, "create", "serviceaccount", "cse-operator")

    kubectl("-n", namespace, "patch", "serviceaccount", "cse-operator", "--patch", patch)

    taken = kubectl("-n", namespace, "get", "serviceaccount", "cse-operator", "-o", "yaml")
    assert yaml.safe_load(taken)["imagePullSecrets"] == [{"name": "swr"}]


def test_the_patch_it_shows_adds_a_port_to_the_policy(kubectl: Kubectl, tmp_path: Path) -> None:
    [shown] = [block for block in BLOCKS if "/spec/egress/1/ports/-" in block]

    objects = kustomized(kubectl, kustomization(tmp_path, **yaml.safe_load(shown)))

    ports = the(objects, "NetworkPolicy")["spec"]["egress"][1]["ports"]
    assert {port["port"] for port in ports} >= {443, 16443}


def test_the_labels_it_shows_for_a_prometheus_are_put_on_what_it_selects(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    [shown] = [block for block in BLOCKS if "/metadata/labels/release" in block]

    ours = kustomization(tmp_path, "monitoring", **yaml.safe_load(shown))
    objects = kustomized(kubectl, ours)

    selected = {item["kind"] for item in objects if "release" in item["metadata"]["labels"]}
    assert selected == {"ServiceMonitor", "PrometheusRule"}


def test_the_api_server_takes_the_roles_for_people(kubectl: Kubectl) -> None:
    applied = kubectl("apply", "--dry-run=server", "-k", str(ROOT / "deploy" / "roles"))

    assert len(applied.splitlines()) == 5


def test_the_policy_it_shows_for_cilium_selects_the_operator(kubectl: Kubectl) -> None:
    [policy] = [yaml.safe_load(block) for block in BLOCKS if "CiliumNetworkPolicy" in block]

    ours = the(kustomized(kubectl, ROOT / "deploy" / "base"), "NetworkPolicy")
    assert policy["spec"]["endpointSelector"] == ours["spec"]["podSelector"]
    assert policy["metadata"]["namespace"] == ours["metadata"]["namespace"]


@pytest.mark.timeout(BUILD_SECONDS)
def test_the_chart_knows_every_value_it_sets(tmp_path: Path) -> None:
    helm = Helm(tmp_path)
    shown = re.findall(r"--set '?([\w.\[\]]+=[^\s'`]+)", PAGE + CHART_README)
    shown += re.findall(r"`([a-z]\w*\.[\w.]+=\w+)`", PAGE)

    assert len(shown) > 5
    for value in shown:
        helm("template", "cse-operator", str(CHART), f"--set={value}")
