"""The long-running process: it does without what it would load and never use."""

from __future__ import annotations

import subprocess
import sys

LOADED = """
import sys
from cse_operator.cli import lean
lean.leave_out_the_unused()
lean.give_back_what_is_freed()
import cse_operator.cli.run, cse_operator.runtime.app
print(*(name for name, module in sys.modules.items() if module is not None))
"""


def test_the_operator_runs_without_the_synchronous_client_and_the_drawing_of_tables() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in done.stdout.split()}
    assert "kopf" in loaded
    assert not loaded & {"requests", "oauthlib", "requests_oauthlib", "websocket", "rich"}
    assert "kubernetes.client" not in done.stdout.split()
