"""deploy/samples: what people copy is taken by the real API server, and is what the docs show."""

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
    """What the API server says to a server-side dry run of these in a namespace."""
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
    files = {path.stem for path in (REPOSITORY / "production").glob("*.yaml")} - {"kustomization"}
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
    flux = yaml.safe_load((REPOSITORY / "flux/engines.yaml").read_text())["spec"]
    engines = kustomized(kubectl, REPOSITORY / application["source"]["path"])
    assert kustomized(kubectl, REPOSITORY / flux["path"]) == engines
    namespaces = {engine["metadata"]["namespace"] for engine in engines}
    assert namespaces == {application["destination"]["namespace"]} == {flux["targetNamespace"]}
