"""Go programs and other projects' files, made once per machine from the modules that pin them.

`python -m support.go_tools NAME…` builds tools ahead of the tests that need them; the name
`control-plane` is kube-apiserver, etcd and kubectl. With `--print` it says where the tools are.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cse_simulator.control_plane import ControlPlaneError, ensure_assets
from cse_simulator.control_plane.assets import Report, cache_directory, report_to_stderr
from cse_simulator.control_plane.building import Recipe, build, find_go, recipe
from support.repository import ROOT

# Pinned by the module of the control plane, most of whose packages they share.
TOOLS = {
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "judge": "cse-operator.io/local-control-plane/judge",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
}

BUILD_SECONDS = 1800
"""Time-out of the tests that may have to build first: some minutes on two cores."""


def tool(name: str) -> Path:
    """Return the path of one of `TOOLS`, building it unless it is in the cache."""
    return tools([name], lambda _line: None)[name]


def tools(names: Sequence[str], report: Report) -> dict[str, Path]:
    """Return the paths of some of `TOOLS`, building together those that are not in the cache.

    Args:
        names: Keys of `TOOLS`.
        report: Is given lines for a person while they are built.
    """
    wanted = recipe()
    assert wanted is not None
    paths = {name: cache_directory() / f"{name}-{_digest(wanted, name)}" / name for name in names}
    with _locked("tools"):
        missing = [name for name in names if not paths[name].exists()]
        if missing:
            report(f"Building {', '.join(missing)} from Go modules, once")
            cache = cache_directory()
            partial = cache / "tools.partial"
            shutil.rmtree(partial, ignore_errors=True)  # what an interrupted run left
            packages = [TOOLS[name] for name in missing]
            build(wanted, find_go(wanted, cache, report), partial, report, packages)
            for name in missing:
                paths[name].parent.mkdir(exist_ok=True)
                (partial / name).rename(paths[name])
    return paths


def _digest(wanted: Recipe, name: str) -> str:
    inputs = hashlib.sha256(f"{wanted.digest} {TOOLS[name]}".encode())
    for source in sorted((wanted.module_directory / name).glob("*.go")):
        inputs.update(source.read_bytes())
    return inputs.hexdigest()[:16]


def module_tool(module: str, name: str) -> Path:
    """Return the path of a tool that has a module of its own, building it unless it is cached.

    Args:
        module: The folder in `tests/tools` whose go.mod names the tool.
        name: The tool's.
    """
    return _cached(module, _build) / name


def files(module: str, dependency: str, folder: str) -> Path:
    """Return the path of a folder of another module, downloading it unless it is in the cache.

    Args:
        module: The folder in `tests/tools` whose go.mod requires it, and whose go.sum has its hash.
        dependency: The other module's path.
        folder: The folder in it.
    """

    def download(go: Path, directory: Path, target: Path) -> None:
        command = [str(go), "mod", "download", "-json", dependency]
        answer = subprocess.run(
            command, cwd=directory, env=_environment(), check=True, stdout=subprocess.PIPE
        )
        shutil.copytree(Path(json.loads(answer.stdout)["Dir"]) / folder, target)

    return _cached(module, download)


def _cached(module: str, make: Callable[[Path, Path, Path], None]) -> Path:
    """Return what is made from a module's go.mod and go.sum, once per machine."""
    directory = ROOT / "tests" / "tools" / module
    inputs = b"".join((directory / file).read_bytes() for file in ("go.mod", "go.sum"))
    cache = cache_directory()
    folder = cache / f"{module}-{hashlib.sha256(inputs).hexdigest()[:16]}"
    with _locked(module):
        if not folder.exists():
            wanted = recipe()
            assert wanted is not None
            go = find_go(wanted, cache, lambda _line: None)
            partial = folder.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)  # what an interrupted run left
            make(go, directory, partial)
            partial.rename(folder)
    return folder


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Hold a lock between processes; the kernel releases it when its holder dies."""
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _build(go: Path, directory: Path, target: Path) -> None:
    command = [str(go), "build", "-mod=readonly", "-trimpath", "-o", f"{target}/", "tool"]
    subprocess.run(command, cwd=directory, env=_environment(), check=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}


def main(names: Sequence[str]) -> int:
    """Build what is named, and return the exit code."""
    # Ended with SIGTERM, it ends its children.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        if names[:1] == ["--print"]:
            print(*tools(names[1:], report_to_stderr).values(), sep="\n")
            return 0
        if "control-plane" in names:
            ensure_assets()
        tools([name for name in names if name != "control-plane"], report_to_stderr)
    except ControlPlaneError as error:
        report_to_stderr(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
