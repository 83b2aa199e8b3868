"""A git repository of manifests, with one work tree for people and one for a GitOps tool."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

_SETTINGS = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_NAME": "A person" for who in ("AUTHOR", "COMMITTER")},
    **{f"GIT_{who}_EMAIL": "person@example.com" for who in ("AUTHOR", "COMMITTER")},
}
"""They shut out the user's git configuration, which may sign commits or run hooks."""


class GitRepository:
    """A bare repository that a person pushes to and a tool checks out from."""

    def __init__(self, folder: Path) -> None:
        self._origin = folder / "origin.git"
        self._person, self._tool = folder / "person", folder / "tool"
        folder.mkdir()
        _git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self._origin))
        for work_tree in (self._person, self._tool):
            _git(folder, "clone", "--quiet", str(self._origin), str(work_tree))
        _git(self._person, "checkout", "--quiet", "-b", "main")

    def commit(self, name: str, manifest: dict[str, Any], message: str) -> None:
        """Write a file, commit it and push."""
        (self._person / name).write_text(yaml.safe_dump(manifest, sort_keys=False))
        _git(self._person, "add", name)
        _git(self._person, "commit", "--quiet", "-m", message)
        self._push()

    def revert(self) -> None:
        """Revert the newest commit and push."""
        _git(self._person, "revert", "--no-edit", "HEAD")
        self._push()

    def checkout(self) -> Path:
        """Check out the newest pushed commit, and return its folder."""
        _git(self._tool, "fetch", "--quiet", "origin", "main")
        _git(self._tool, "checkout", "--quiet", "--detach", "FETCH_HEAD")
        return self._tool

    def _push(self) -> None:
        _git(self._person, "push", "--quiet", "origin", "main")


def _git(folder: Path, *arguments: str) -> None:
    command = ["git", "-C", str(folder), *arguments]
    # If a git hook or another program runs the tests, it may have set such variables.
    around = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    result = subprocess.run(
        command, env=around | _SETTINGS, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 0, f"{' '.join(command)}:\n{result.stdout}{result.stderr}"
