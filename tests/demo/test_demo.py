"""The demo as a newcomer runs it, and how it cleans up, whatever ends it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cse_simulator.control_plane import Cluster, LocalControlPlane
from support import processes
from support.kubectl import Kubectl
from support.repository import ROOT

MARKER = "CSE_DEMO_TEST"
SECONDS = 150.0


class Demo:
    """A running demo. Its processes are found by an environment variable that children inherit."""

    def __init__(self, folder: Path, *flags: str, environment: dict[str, str] | None = None):
        self.folder = folder
        self.name = uuid.uuid4().hex
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "cse_simulator.demo", *flags],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # as a shell gives a command a process group of its own
            env=processes.python_environment(
                {MARKER: self.name, "TMPDIR": str(folder), **(environment or {})}
            ),
        )

    def until(self, text: str) -> str:
        """Read up to a line that contains the text, and return the line."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if text in line:
                return self.lines[-1]
        raise AssertionError(f"{text!r} did not come:\n{self.said()}")

    def end(self) -> int:
        """Read to the end, and return the exit code."""
        assert self.process.stdout is not None
        self.lines += self.process.stdout.read().splitlines()
        return self.process.wait(SECONDS)

    def said(self) -> str:
        return "\n".join(self.lines)

    def processes(self) -> list[str]:
        """Return the command lines of the demo and of all processes that it started."""
        marked = f"{MARKER}={self.name}".encode()
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if marked in (folder / "environ").read_bytes().split(b"\0"):
                    found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
            except OSError:  # the process has just ended
                continue
        return [line for line in found if line]  # a zombie has none

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


@pytest.fixture
def start_demo(control_plane: Cluster, tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Start demos. Asking for the session's control plane makes sure that its binaries exist."""
    started: list[Demo] = []

    def start(*flags: str, environment: dict[str, str] | None = None) -> Demo:
        started.append(Demo(tmp_path, *flags, environment=environment))
        return started[-1]

    yield start
    for demo in started:
        demo.kill()


def test_the_demo_shows_its_three_outcomes_and_leaves_nothing(
    start_demo: Callable[..., Demo], tmp_path: Path
) -> None:
    demo = start_demo()
    assert demo.end() == 0, demo.said()

    said = demo.said()
    assert "✗" not in said
    assert re.search(r"✓ storefront +2\.3\.1 → 2\.4\.0, job \d+ Succeeded; one upgrade call", said)
    assert re.search(r"✓ payments +still at 2\.4\.0; no upgrade call", said)
    assert re.search(r"✓ nacos +still at 2\.1\.0\.1, job \d+ Failed; one upgrade call", said)
    assert "2 upgrade calls for 2 wanted upgrades: exactly one each" in said
    assert re.search(r"its way out: .*cse-operator\.io/retry-requested-at", said)
    rows = [line.split()[2:7] for line in demo.lines if re.match(r" +[\d.]+ s  \w", line)]
    assert ["storefront", "2.4.0", "2.3.1", "Upgrading"] in [row[:4] for row in rows]
    assert "\x1b" not in said
    assert demo.processes() == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_stays_up_serves_another_terminal_until_ctrl_c(
    start_demo: Callable[..., Demo], control_plane: Cluster, tmp_path: Path
) -> None:
    demo = start_demo("--keep")
    kubeconfig = Path(demo.until("export KUBECONFIG=").partition("KUBECONFIG=")[2])
    operator = int(demo.until("kill -9 ").split()[3])
    demo.until("Ctrl-C here ends everything.")
    kubectl = Kubectl(control_plane, kubeconfig)

    kubectl("apply", "-f", str(ROOT / "deploy" / "samples"))
    kubectl("annotate", "mse", "nacos", "cse-operator.io/retry-requested-at=1")
    kubectl("wait", "mse/orders", "--for=jsonpath={.status.phase}=Upgrading", "--timeout=60s")
    os.kill(operator, signal.SIGKILL)
    demo.until("The operator had ended; it runs again")
    for name in ("orders", "registry", "nacos"):
        kubectl("wait", f"mse/{name}", "--for=condition=Ready", "--timeout=60s")
    orders = kubectl.json("get", "mse", "orders")
    assert orders["status"]["result"] == "Succeeded"
    assert orders["status"]["upgrade"]["attempts"] == 1

    os.killpg(demo.process.pid, signal.SIGINT)  # what a terminal does at Ctrl-C
    assert demo.end() == 0, demo.said()
    assert demo.lines[-1].startswith("Stopped. Nothing is left of the demo.")
    assert demo.processes() == []
    assert list(tmp_path.iterdir()) == []


def test_a_killed_demo_leaves_no_process(start_demo: Callable[..., Demo]) -> None:
    demo = start_demo()
    demo.until("PHASE")
    assert any("cse_operator run" in line for line in demo.processes())

    demo.process.kill()
    demo.process.wait()

    deadline = time.monotonic() + 30
    while (left := demo.processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == []


def test_sigterm_makes_the_demo_remove_all_that_it_made_in_the_current_cluster(
    start_demo: Callable[..., Demo],
    private_control_plane: LocalControlPlane,
    tmp_path: Path,
) -> None:
    cluster = private_control_plane.cluster
    assert cluster.kubectl is not None
    path = f"{cluster.kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    here = {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    kubectl = Kubectl(cluster)

    demo = start_demo("--cluster=current", environment=here)
    assert cluster.url in demo.until("Context local, at ")
    namespace = re.findall(r"cse-demo-\w+", demo.until("Made the namespace"))[0]
    demo.until("Upgrading")
    assert kubectl.json("get", "namespace", namespace)["status"]["phase"] == "Active"
    demo.process.terminate()
    assert demo.end() == 0, demo.said()

    assert kubectl("get", "crd", "-o", "name") == ""
    removed = kubectl.json("get", "namespace", namespace)
    # No controller empties namespaces here, so the deleted namespace stays in Terminating.
    assert removed["status"]["phase"] == "Terminating"
    assert demo.processes() == []
    assert list(tmp_path.iterdir()) == []


def test_what_was_in_the_current_cluster_before_stays_there(
    start_demo: Callable[..., Demo], control_plane: Cluster
) -> None:
    assert control_plane.kubectl is not None
    path = f"{control_plane.kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    here = {"KUBECONFIG": str(control_plane.kubeconfig), "PATH": path}
    demo = start_demo("--cluster=current", environment=here)
    demo.until("Made the namespace")
    demo.process.terminate()
    assert demo.end() == 0, demo.said()
    assert "kubectl delete namespace" in demo.said()
    assert "kubectl delete crd" not in demo.said()
    Kubectl(control_plane)("get", "crd", "microserviceengines.cse-operator.io")


def test_beside_another_operator_it_refuses_to_work(
    start_demo: Callable[..., Demo], private_control_plane: LocalControlPlane
) -> None:
    cluster = private_control_plane.cluster
    assert cluster.kubectl is not None
    kubectl = Kubectl(cluster)
    for part in ("crds", "deploy/namespace", "deploy/base"):
        kubectl("apply", "-k", str(ROOT / part))
    path = f"{cluster.kubectl.parent}{os.pathsep}{os.environ['PATH']}"
    here = {"KUBECONFIG": str(cluster.kubeconfig), "PATH": path}
    demo = start_demo("--cluster=current", environment=here)
    assert demo.end() == 1
    assert "an operator works in this cluster (deployment.apps/cse-operator)" in demo.said()
    assert "cse-demo-" not in kubectl("get", "namespaces", "-o", "name")


@pytest.mark.parametrize(
    ("has_kubectl", "said"),
    [(True, "kubectl config use-context"), (False, "kubectl is not in PATH")],
)
def test_without_a_current_context_it_says_what_to_do(
    start_demo: Callable[..., Demo],
    control_plane: Cluster,
    tmp_path: Path,
    has_kubectl: bool,
    said: str,
) -> None:
    assert control_plane.kubectl is not None
    path = str(control_plane.kubectl.parent if has_kubectl else tmp_path)
    here = {"KUBECONFIG": str(tmp_path / "none"), "HOME": str(tmp_path), "PATH": path}
    demo = start_demo("--cluster=current", environment=here)
    assert demo.end() == 1
    assert said in demo.said()
    assert list(tmp_path.iterdir()) == []
