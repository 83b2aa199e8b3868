"""deploy/samples: the real API server accepts the samples, and the docs show the same text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from support.installation import Manifest, kustomized
from support.kubectl import Kubectl
from support.repository import ROOT

SAMPLES = ROOT / "deploy" / "samples"
REPOSITORY = SAMPLES / "gitops"
PAGE = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def taken(kubectl: Kubectl, namespace: str, manifests: list[Manifest]) -> list[str]:
    """Return the API server's answers to a server-side dry run of these in a namespace."""
    for manifest in manifests:
        manifest["metadata"]["namespace"] = namespace
    flags = ("--server-side", "--dry-run=server", "--validate=strict")
    return kubectl("apply", *flags, "-f", "-", stdin=yaml.safe_dump_all(manifests)).splitlines()


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_sample_is_taken_as_it_is(kubectl: Kubectl, namespace: str, sample: Path) -> None:
    manifests = list(yaml.safe_load_all(sample.read_text(encoding="utf-8")))
    said = taken(kubectl, namespace, manifests)
    assert [line.split()[1] for line in said] == ["serverside-applied"] * len(manifests)


def test_the_sample_repository_is_taken_whole(kubectl: Kubectl, namespace: str) -> None:
    engines = kustomized(kubectl, REPOSITORY / "production")
    files = {path.stem for path in (REPOSITORY / "production").rglob("*.yaml")} - {"kustomization"}
    assert {engine["metadata"]["name"] for engine in engines} == files
    assert {engine["kind"] for engine in engines} == {"MicroserviceEngine"}
    assert len({engine["spec"]["engineId"] for engine in engines}) == len(engines)
    assert len(taken(kubectl, namespace, engines)) == len(engines)


@pytest.mark.parametrize(
    ("path", "kind"), [("argocd/application.yaml", "Application"), ("flux/engines.yaml", "Kustom")]
)
def test_the_sample_repository_has_what_the_page_shows(path: str, kind: str) -> None:
    sample = (REPOSITORY / path).read_text(encoding="utf-8")
    assert f"kind: {kind}" in sample
    assert sample in BLOCKS


def test_what_applies_the_repository_points_into_it(kubectl: Kubectl) -> None:
    application = yaml.safe_load((REPOSITORY / "argocd/application.yaml").read_text())["spec"]
    source, *stages = yaml.safe_load_all((REPOSITORY / "flux/engines.yaml").read_text())
    engines = kustomized(kubectl, REPOSITORY / application["source"]["path"])
    by_stage = [kustomized(kubectl, REPOSITORY / stage["spec"]["path"]) for stage in stages]
    assert [engine for stage in by_stage for engine in stage] == engines
    namespaces = {engine["metadata"]["namespace"] for engine in engines}
    assert namespaces == {application["destination"]["namespace"]}
    assert {stage["spec"]["targetNamespace"] for stage in stages} == namespaces
    assert source["spec"]["url"] == application["source"]["repoURL"]
    for stage in stages:
        named = {"kind": source["kind"], "name": source["metadata"]["name"]}
        assert stage["spec"]["sourceRef"] == named


def test_argo_cd_and_flux_go_through_the_same_stages(kubectl: Kubectl) -> None:
    _, *stages = yaml.safe_load_all((REPOSITORY / "flux/engines.yaml").read_text())
    for number, stage in enumerate(stages):
        before = [{"name": stages[number - 1]["metadata"]["name"]}] if number else []
        assert stage["spec"].get("dependsOn", []) == before
        for engine in kustomized(kubectl, REPOSITORY / stage["spec"]["path"]):
            wave = engine["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"]
            assert int(wave) == number
