"""Plans of manifests in a git repository, without a cluster."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.cli.main import main
from support.engines import engine_manifest

OFFLINE = ("--offline", "-o", "json")


def git(*arguments: str) -> None:
    """Run git without a user's configuration."""
    subprocess.run(["git", *arguments], check=True, env={**os.environ, "HOME": "/nowhere"})


def commit(message: str, folder: Path = Path()) -> None:
    """Commit all files in a repository's folder."""
    here, who = ("-C", str(folder)), ("-c", "user.name=a", "-c", "user.email=a@b.c")
    git(*here, "add", ".")
    git(*here, *who, "commit", "--quiet", "-m", message)


def write(name: str, folder: str = "engines", *, namespace: str = "payments", **spec: Any) -> None:
    """Write an engine's manifest."""
    Path(folder).mkdir(exist_ok=True)
    manifest = engine_manifest(name, namespace=namespace, **spec)
    Path(folder, f"{name}.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False))


def answer(capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> dict[str, Any]:
    """Return a plan's output for programs."""
    assert main(["plan", *flags, *OFFLINE]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def planned(capsys: pytest.CaptureFixture[str], *flags: str, code: int = 0) -> dict[str, Any]:
    """Return a plan's entries by engine name."""
    return {one["name"]: one for one in answer(capsys, *flags, code=code)["engines"]}
