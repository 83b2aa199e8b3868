"""docs/keyless.md: the real API server accepts its examples."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from cse_operator.runtime.settings import Settings
from support.installation import kustomized, rights_in
from support.kubectl import Kubectl
from support.repository import ROOT

PAGE = (ROOT / "docs" / "keyless.md").read_text(encoding="utf-8")
FENCES = re.compile(r"^```yaml\n(.*?)^```", re.MULTILINE | re.DOTALL)
BLOCKS = [yaml.safe_load(text) for text in FENCES.findall(PAGE)]
SAMPLE = ROOT / "deploy" / "samples" / "service-account.yaml"


def test_the_kustomization_gives_the_right_for_the_accounts_that_the_page_names(
    kubectl: Kubectl, tmp_path: Path
) -> None:
    (shown,) = (block for block in BLOCKS if block.get("kind") == "Kustomization")
    (tmp_path / "deploy").symlink_to(ROOT / "deploy")
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "kustomization.yaml").write_text(yaml.safe_dump(shown))
    name = yaml.safe_load(SAMPLE.read_text())["metadata"]["name"]
    rights = rights_in(kustomized(kubectl, tmp_path / "ours"))
    assert ("", "serviceaccounts/token", name, "create") in rights
    assert f"system:serviceaccount:payments:{name}" in PAGE


def test_each_way_to_name_an_account_is_taken(kubectl: Kubectl, namespace: str) -> None:
    (engine,) = (block for block in BLOCKS if block.get("kind") == "MicroserviceEngine")
    references = [block["credentialsRef"] for block in BLOCKS if "credentialsRef" in block]
    references.append(engine["spec"]["credentialsRef"])
    assert len(references) == 2
    for reference in references:
        engine["spec"]["credentialsRef"] = reference
        flags = ("--server-side", "--dry-run=server", "--validate=strict", "-n", namespace)
        said = kubectl("apply", *flags, "-f", "-", stdin=yaml.safe_dump(engine))
        assert "serverside-applied" in said


def test_the_commands_and_settings_that_it_names_are_there(kubectl: Kubectl) -> None:
    paths = re.findall(r"^kubectl get --raw (\S+)$", PAGE, re.MULTILINE)
    issuer, keys = (json.loads(kubectl("get", "--raw", path)) for path in paths)
    assert issuer["issuer"].startswith("https://")
    assert keys["keys"]
    flags = set(re.findall(r"`--([a-z-]+)", PAGE))
    known = {name.replace("_", "-") for name in Settings.model_fields}
    assert "token-audience" in flags
    assert flags - {"set"} <= known  # `--set` is Helm's
