"""The image's files are gathered from a base that has more than the operator needs."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

from support.repository import ROOT

PROGRAM = b"\x7fELF and more"


@pytest.fixture
def image_root(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "hack"))
    return importlib.import_module("image_root")


@pytest.fixture
def standard_library(tmp_path: Path) -> Path:
    """A standard library like the base image's, with programs and a module for windows."""
    folder = tmp_path / "python3.14"
    for name, content in {
        "json/__init__.py": b"",
        "json/tool.py": b"#! /usr/bin/env python3",
        "lib-dynload/_ssl.cpython-314-x86_64-linux-gnu.so": PROGRAM,
        "lib-dynload/_tkinter.cpython-314-x86_64-linux-gnu.so": PROGRAM,
        "tkinter/__init__.py": b"",
        "turtle.py": b"",
        "ctypes/util.py": b"",
        "ctypes/macholib/fetch_macholib": b"#!/bin/sh",
        "config-3.14-x86_64-linux-gnu/install-sh": b"#!/bin/sh",
        "helper": b"#!/bin/sh",
    }.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        file.chmod(0o755)
    return folder


def test_what_only_windows_and_compilers_need_is_left_out(
    image_root: ModuleType, standard_library: Path, tmp_path: Path
) -> None:
    root = image_root.Root(tmp_path / "image")
    root.add(standard_library, image_root.LEFT_OUT)

    assert {str(file.relative_to(standard_library)) for file in root.files} == {
        "ctypes/util.py",
        "helper",
        "json/__init__.py",
        "json/tool.py",
        "lib-dynload/_ssl.cpython-314-x86_64-linux-gnu.so",
    }


def test_no_script_among_the_modules_is_executable(
    image_root: ModuleType, standard_library: Path, tmp_path: Path
) -> None:
    root = image_root.Root(tmp_path / "image")
    root.add(standard_library, image_root.LEFT_OUT)

    copied = {file: root.folder / file.relative_to("/") for file in root.files}
    executable = {file.name for file, copy in copied.items() if copy.stat().st_mode & 0o111}
    assert executable == {"_ssl.cpython-314-x86_64-linux-gnu.so"}
    assert all(copy.read_bytes() == file.read_bytes() for file, copy in copied.items())


def test_a_missing_library_stops_the_build(
    image_root: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(image_root, "_output", lambda *_, **__: "\tlibtk8.6.so => not found\n")
    (tmp_path / "module.so").write_bytes(PROGRAM)

    with pytest.raises(RuntimeError, match=r"a shared library is missing:\n\tlibtk8\.6\.so"):
        list(image_root.libraries([tmp_path / "module.so"]))
