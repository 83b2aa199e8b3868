"""Shared fixtures for tests of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.plans import commit, git, write


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository with two engines at 2.3.1, committed."""
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    git("init", "--quiet")
    for name in ("orders", "ledger"):
        write(name, version="2.3.1", engineId=name)
    commit("first")
    return tmp_path
