"""The scripts in hack/ that `make` calls."""

from __future__ import annotations

import http.client
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
from email.message import Message
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
    """Return a function that imports a script of hack/; these scripts import each other by name."""
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


@pytest.fixture
def audited(script, tmp_path, monkeypatch, capsys):
    """Return a function that audits a lock file, given twice, with these answers of osv.dev."""
    path = tmp_path / "requirements.lock"
    path.write_text(LOCK)

    def run(*answers: object) -> tuple[int, str, list[dict]]:
        audit = script("audit")
        waiting = list(answers)
        asked = []

        def urlopen(request, timeout):
            asked.append(json.loads(request.data))
            answer = waiting.pop(0)
            if isinstance(answer, Exception):
                raise answer
            return io.BytesIO(answer if isinstance(answer, bytes) else json.dumps(answer).encode())

        monkeypatch.setattr(audit.urllib.request, "urlopen", urlopen)
        monkeypatch.setattr(sys, "argv", ["audit.py", str(path), str(path)])
        code = audit.main()
        assert not waiting
        return code, capsys.readouterr().out, asked

    return run


def refusal(code: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("https://api.osv.dev", code, "no", Message(), None)


@pytest.mark.parametrize(
    "trouble",
    [
        urllib.error.URLError("no route"),
        TimeoutError("slow"),
        http.client.RemoteDisconnected("gone"),
        http.client.IncompleteRead(b""),
        refusal(429),
        refusal(503),
        b"<html>Please log in</html>",
    ],
)
def test_the_audit_says_that_it_could_not_be_done_and_stops_nobody(audited, trouble):
    code, said, _ = audited(trouble)
    assert code == 0
    assert said.startswith("NOT AUDITED: ")
    assert "2 packages" in said


@pytest.mark.parametrize("trouble", [refusal(400), refusal(404), {}, {"results": [{}]}, []])
def test_an_audit_that_is_not_understood_is_not_taken_for_a_missing_network(audited, trouble):
    code, said, _ = audited(trouble)
    assert code == 1
    assert "do not understand each other" in said


def test_the_audit_reads_all_pages_and_asks_for_each_package_once(audited):
    code, said, asked = audited(
        {"results": [{"vulns": [{"id": "PYSEC-1"}], "next_page_token": "more"}, {}]},
        {"results": [{"vulns": [{"id": "PYSEC-2"}]}]},
    )
    assert code == 1
    assert "vulnerability/PYSEC-1" in said
    assert "vulnerability/PYSEC-2" in said
    assert said.endswith("2 locked packages, 2 known vulnerabilities\n")
    purls = ["pkg:pypi/aiohttp@3.14.5", "pkg:pypi/uv-loop-x@0.23.0"]
    assert asked[0] == {"queries": [{"package": {"purl": purl}} for purl in purls]}
    assert asked[1] == {"queries": [{"package": {"purl": purls[0]}, "page_token": "more"}]}


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


def test_the_image_is_built_with_the_commit_and_the_repository_without_its_password(tmp_path):
    builder = tmp_path / "bin" / "docker"
    builder.parent.mkdir()
    builder.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    builder.chmod(0o755)
    (tmp_path / "hack").mkdir()
    shutil.copy(ROOT / "hack/image", tmp_path / "hack/image")
    shutil.copy(ROOT / "pyproject.toml", tmp_path)

    def run(*command: str) -> str:
        environment = {"PATH": f"{builder.parent}:{os.environ['PATH']}", "BASE": "python@sha256:1"}
        environment |= {"GIT_CONFIG_GLOBAL": "/dev/null", "HOME": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, capture_output=True, text=True
        ).stdout

    run("git", "init", "--quiet")
    run("git", "remote", "add", "origin", "https://user:canary@git.example.com/cse-operator.git")
    run("git", "add", ".")
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com")
    run("git", *who, "commit", "--quiet", "--message=One")
    commit = run("git", "rev-parse", "HEAD").strip()
    built = run("hack/image", "example:1")
    assert f"\nREVISION={commit}\n" in built
    assert "\nSOURCE=https://git.example.com/cse-operator.git\n" in built
    assert "\nBASE=python@sha256:1\n" in built
    assert "\nVERSION=0." in built
    (tmp_path / "changed").touch()
    assert f"\nREVISION={commit}-dirty\n" in run("hack/image", "example:1")


@pytest.fixture
def chosen_python(tmp_path):
    """Return a function that lets hack/python choose among made-up interpreters."""

    def choose(**usable: bool) -> subprocess.CompletedProcess[str]:
        for name, works in usable.items():
            path = tmp_path / name.replace("_", ".")
            path.write_text(f"#!/bin/sh\nexit {0 if works else 1}\n")
            path.chmod(0o755)
        path = f"{tmp_path}:/usr/bin:/bin"
        candidates = " ".join(name.replace("_", ".") for name in usable)
        environment = {"PATH": path, "PYTHON_FOR_VENV": candidates}
        return subprocess.run(
            ["hack/python"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    return choose


def test_the_first_python_that_works_is_chosen(chosen_python, tmp_path):
    chosen = chosen_python(python3_99=False, python3_98=True, python3_97=True)
    assert chosen.stdout == f"{tmp_path / 'python3.98'}\n"


def test_without_a_usable_python_it_says_what_to_install(chosen_python):
    refused = chosen_python(python3_99=False)
    assert refused.returncode == 1
    assert "tried: python3.99" in refused.stderr
    assert "PYTHON_FOR_VENV=" in refused.stderr


def test_make_lists_its_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: ([a-z-]+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets
    for target in targets:
        assert re.search(rf"^  make {target} +\S", shown, re.MULTILINE), target


def test_ci_runs_every_test():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    targets = re.findall(r"^\s*make ([a-z-]+)$", ci, re.MULTILINE)
    # `make` runs these tests, and must not pass its own flags on.
    environment = {name: value for name, value in os.environ.items() if "MAKE" not in name}
    commands = subprocess.run(
        ["make", "--dry-run", *targets],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    commands += (ROOT / "hack" / "image-test").read_text(encoding="utf-8")

    run = [ROOT / path for path in re.findall(r"\btests/[\w/.-]+", commands)]
    files = sorted((ROOT / "tests").rglob("test_*.py"))
    assert [file for file in files if not {file, *file.parents} & set(run)] == []
