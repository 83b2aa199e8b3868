"""The folder `operator/` must never hide the standard library's `operator`."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path

import pytest

from support.repository import ROOT, SOURCES


@pytest.mark.parametrize("folder", [".", "tests", "operator"])
def test_import_operator_gives_the_standard_library_from_any_folder(folder):
    program = "import operator; operator.itemgetter; print(operator.__file__)"
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(result.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_the_source_root_is_no_package_and_holds_packages_only():
    assert sorted(path.name for path in SOURCES.iterdir() if path.name != "__pycache__") == [
        "cse_operator",
        "cse_simulator",
    ]


def test_one_newest_python_is_promised_tried_and_in_the_image():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = re.findall(r":: Python :: 3\.(\d+)", "\n".join(project["classifiers"]))
    oldest, newest = min(map(int, named)), max(map(int, named))
    assert len(named) == newest - oldest + 1
    assert project["requires-python"] == f">=3.{oldest},<3.{newest + 1}"
    base = f"ARG BASE=python:3.{newest}-slim"
    assert base in (ROOT / "Dockerfile").read_text(encoding="utf-8")
    chooser = (ROOT / "hack" / "python").read_text(encoding="utf-8")
    assert f"(3, {oldest}) <= sys.version_info[:2] < (3, {newest + 1})" in chooser
    for page in ("README.md", "CONTRIBUTING.md", "Makefile", ".ci/run"):
        assert f"Python 3.{oldest} to 3.{newest}" in (ROOT / page).read_text(encoding="utf-8"), page


def test_the_tests_are_no_packages_and_none_is_called_operator():
    assert not (ROOT / "tests" / "operator").exists()
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_wheel_holds_the_operator_and_neither_its_stand_ins_nor_its_demo(tmp_path):
    # Build offline and without isolation: the lock file has what hatchling needs.
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    [wheel] = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"cse_operator"}
    for expected in ("cse_operator/__init__.py", "cse_operator/py.typed"):
        assert expected in names
    [scripts] = [name for name in names if name.endswith("/entry_points.txt")]
    with zipfile.ZipFile(wheel) as archive:
        written = archive.read(scripts).decode()
    assert "cse_operator" in written
    assert "cse_simulator" not in written
    for script in ("cse-operator", "kubectl-cse", "kubectl_complete-cse"):
        assert f"\n{script} = " in written
    [licence] = [name for name in names if name.endswith("/licenses/LICENSE")]
    assert ".dist-info/" in licence
