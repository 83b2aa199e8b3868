"""Go programs and other projects' files, made once per machine from the modules that pin them.

`python -m support.go_tools NAME…` builds tools before the tests need them; the name
`control-plane` means kube-apiserver, etcd and kubectl. With `--print` it prints the tools' paths.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cse_simulator.control_plane import ControlPlaneError, ensure_assets
from cse_simulator.control_plane.assets import Report, cache_directory, report_to_stderr
from cse_simulator.control_plane.building import Recipe, build, find_go, go_environment, recipe
from support.repository import ROOT

# The control plane's module pins them, because they share most of its packages.
TOOLS = {
    "actionlint": "github.com/rhysd/actionlint/cmd/actionlint",
    "helm": "helm.sh/helm/v4/cmd/helm",
    "judge": "cse-operator.io/local-control-plane/judge",
    "kubeconform": "github.com/yannh/kubeconform/cmd/kubeconform",
}

BUILD_SECONDS = 1800
"""Time-out, in seconds, of tests that may have to build first: some minutes on two cores."""


def tool(name: str) -> Path:
    """Return the path of one of `TOOLS`; build it if it is not in the cache."""
    return tools([name], lambda _line: None)[name]


def tools(names: Sequence[str], report: Report) -> dict[str, Path]:
    """Return the paths of some of `TOOLS`; build all that are not in the cache in one go.

    Args:
        names: Keys of `TOOLS`.
        report: Called with a line for a person before a build and during it.
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
            shutil.rmtree(partial, ignore_errors=True)  # left by an interrupted run
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
    """Return the path of a tool with its own module; build it if it is not in the cache.

    Args:
        module: The folder in `tests/tools` whose go.mod names the tool.
        name: The tool's name.
    """
    return _cached(module, _build) / name


def files(module: str, dependency: str, folder: str) -> Path:
    """Return the path of a folder in another module; download it if it is not in the cache.

    Args:
        module: The folder in `tests/tools` whose go.mod requires the other module, and whose
            go.sum has its hash.
        dependency: The other module's path.
        folder: The folder in the other module.
    """

    def download(go: Path, directory: Path, target: Path) -> None:
        command = [str(go), "mod", "download", "-json", dependency]
        answer = subprocess.run(
            command, cwd=directory, env=go_environment(), check=True, stdout=subprocess.PIPE
        )
        shutil.copytree(Path(json.loads(answer.stdout)["Dir"]) / folder, target)

    return _cached(module, download)


def _cached(module: str, make: Callable[[Path, Path, Path], None]) -> Path:
    """Return the folder that `make` makes from a module's go.mod and go.sum, once per machine."""
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
            shutil.rmtree(partial, ignore_errors=True)  # left by an interrupted run
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
    subprocess.run(command, cwd=directory, env=go_environment(), check=True)


def main(names: Sequence[str]) -> int:
    """Build or print the named tools, and return the exit code."""
    # On SIGTERM, raise SystemExit, which ends the children.
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
