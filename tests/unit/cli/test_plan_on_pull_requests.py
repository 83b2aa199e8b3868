"""The job of docs/gitops.md that comments on a pull request what its merge starts."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cse_operator.cli.planning.outputs import MARKER
from support import processes
from support.plans import commit, git, write
from support.repository import ROOT

PAGE = (ROOT / "docs" / "gitops.md").read_text(encoding="utf-8")
[TEXT] = re.findall(r"^```yaml\n(name: plan\n.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
JOB: dict[str, Any] = yaml.safe_load(TEXT)["jobs"]["plan"]
RUNS = {step["name"]: step["run"] for step in JOB["steps"] if "run" in step}

GH = """\
#!/bin/sh
echo "gh $*" >> "$SAID"
case "$*" in "api --paginate"*) printf '%s' "$FOUND" ;; esac
"""
COMMAND = f"""\
#!/bin/sh
exec {sys.executable} -m cse_operator "$@" --offline
"""
PATCHED = "gh api --silent -X PATCH repos/ours/engines/issues/comments/17 -F body=@plan.md"


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The work tree of a merge, with the base branch as `origin/main`."""
    here = tmp_path / "repository"
    here.mkdir()
    monkeypatch.chdir(here)
    git("init", "--quiet", "--initial-branch=main")
    write("orders", "production", version="2.3.1")
    commit("base")
    git("update-ref", "refs/remotes/origin/main", "HEAD")
    return here


def run_the_job(folder: Path, *, found: str = "") -> list[str]:
    """Run the job's scripts as the forge does, and return what it asked gh for."""
    programs, said = folder / "programs", folder / "said"
    programs.mkdir()
    for name, text in {"gh": GH, "pipx": "#!/bin/sh\n", "cse-operator": COMMAND}.items():
        (programs / name).write_text(text)
        (programs / name).chmod(stat.S_IRWXU)
    environment = {
        "PATH": os.pathsep.join([str(programs), os.environ["PATH"]]),
        "HOME": str(folder),
        "RUNNER_TEMP": str(folder),
        "GITHUB_REPOSITORY": "ours/engines",
        "MARKER": JOB["env"]["MARKER"],
        "BASE": "origin/main",
        "ACCESS": "kind: Config",
        "NUMBER": "4",
        "FOUND": found,
        "SAID": str(said),
    }
    for script in RUNS.values():
        subprocess.run(
            ["bash", "-e", "-c", script], check=True, env=processes.python_environment(environment)
        )
    return said.read_text().splitlines()


def test_a_pull_request_gets_a_comment_with_what_its_merge_starts(
    repository: Path, tmp_path: Path
) -> None:
    write("orders", "production", version="2.4.0")

    said = run_the_job(tmp_path)

    plan = (repository / "plan.md").read_text()
    assert plan.startswith(f"{MARKER}\n")
    assert "2.3.1 → 2.4.0" in plan
    assert said[-1] == "gh pr comment 4 --body-file plan.md"


def test_a_later_push_changes_that_comment_even_if_nothing_starts_any_more(
    repository: Path, tmp_path: Path
) -> None:
    said = run_the_job(tmp_path, found="17\n18\n")

    assert (repository / "plan.md").read_text() == f"{MARKER}\nThis merge starts nothing.\n"
    assert said[-1] == PATCHED


def test_the_job_has_few_rights_and_pins_what_it_runs() -> None:
    assert yaml.safe_load(TEXT)["permissions"] == {}
    assert JOB["permissions"] == {"contents": "read", "pull-requests": "write"}
    for line in TEXT.splitlines():
        if "uses:" in line:
            assert re.search(r"uses: [\w.-]+/[\w.-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)
    assert not any("${{" in script for script in RUNS.values())


def test_a_judge_of_workflows_finds_no_fault_in_it(tmp_path: Path) -> None:
    zizmor = shutil.which("zizmor", path=str(Path(sys.executable).parent))
    assert zizmor is not None
    (tmp_path / "plan.yaml").write_text(TEXT)

    judged = subprocess.run(
        [zizmor, "--offline", str(tmp_path / "plan.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert judged.returncode == 0, judged.stdout
