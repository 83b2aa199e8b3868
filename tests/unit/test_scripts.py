"""The scripts in hack/ that `make` calls."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
import urllib.error
from types import ModuleType

import pytest

from support.repository import ROOT

LOCK = """\
# a comment
aiohttp==3.14.5 \\
    --hash=sha256:{a} \\
    --hash=sha256:{b}
Uv.Loop_x==0.23.0 ; sys_platform != 'win32' \\
    --hash=sha256:{a}
""".format(a="a" * 64, b="b" * 64)


@pytest.fixture
def script(monkeypatch):
    """Import a script of hack/, which import each other by name."""
    names = ("locked", "sbom", "audit", "generate")
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


def test_a_lock_file_is_read_whole(script, tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)

    first, second = script("locked").read(path)

    assert (first.name, first.version, first.marker) == ("aiohttp", "3.14.5", "")
    assert first.sha256 == ("a" * 64, "b" * 64)
    assert second.marker == "sys_platform != 'win32'"
    assert second.purl == "pkg:pypi/uv-loop-x@0.23.0"


def test_a_line_that_pins_nothing_is_not_overlooked(script, tmp_path):
    path = tmp_path / "requirements.lock"
    path.write_text("aiohttp>=3\n")

    with pytest.raises(ValueError, match="aiohttp>=3"):
        script("locked").read(path)


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_every_locked_package_is_pinned_by_hash(script, name):
    packages = script("locked").read(ROOT / name)
    assert packages
    assert [package.name for package in packages if not package.sha256] == []


def test_the_bill_of_materials_names_every_locked_package(script):
    packages = script("locked").read(ROOT / "requirements.lock")

    document = script("sbom").bill_of_materials(packages)

    assert document["specVersion"] == "1.6"
    assert document["metadata"]["component"]["name"] == "cse-operator"
    assert [item["purl"] for item in document["components"]] == [item.purl for item in packages]
    references = [item["bom-ref"] for item in document["components"]]
    assert len(references) == len(set(references))
    assert json.loads(json.dumps(document)) == document


def test_the_audit_fails_when_a_package_is_known_to_be_vulnerable(
    script, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    audit = script("audit")
    asked = []

    def ask(queries):
        asked.extend(queries)
        return {"results": [{"vulns": [{"id": "PYSEC-2026-1"}]}, {}]}

    monkeypatch.setattr(audit, "ask", ask)
    monkeypatch.setattr(sys, "argv", ["audit.py", str(path)])

    assert audit.main() == 1
    assert asked[0] == {"package": {"purl": "pkg:pypi/aiohttp@3.14.5"}}
    assert "aiohttp 3.14.5: https://osv.dev/vulnerability/PYSEC-2026-1" in capsys.readouterr().out


def test_the_audit_says_that_it_could_not_be_done_without_a_network(
    script, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)
    audit = script("audit")

    def unreachable(queries):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(audit, "ask", unreachable)
    monkeypatch.setattr(sys, "argv", ["audit.py", str(path)])

    assert audit.main() == 0
    assert "not audited" in capsys.readouterr().out


def test_generated_files_are_checked_and_written(script, tmp_path, monkeypatch, capsys):
    generate = script("generate")
    monkeypatch.setattr(generate, "ROOT", tmp_path)
    monkeypatch.setattr(generate, "GENERATED", {"docs/page.md": lambda: "new\n"})
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text("old\n")

    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 1
    shown = capsys.readouterr().out
    assert "-old" in shown
    assert "+new" in shown
    assert "make generate" in shown

    monkeypatch.setattr(sys, "argv", ["generate.py", "--write"])
    assert generate.main() == 0
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    assert generate.main() == 0


def test_make_lists_its_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target
