"""The container image: its content, its work, and its stop without a loss."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from cse_simulator.control_plane import Cluster
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import Simulation
from support import processes
from support.image import SERVICE_ACCOUNT, USER, Container, Image
from support.installation import (
    WHERE_IT_SERVES,
    Manifest,
    environment_of,
    kustomization,
    kustomized,
    rights_once_granted,
    the,
)
from support.repository import CRDS, ROOT
from support.scene import Scene

Start = Callable[[], Container]


@pytest.fixture
def scene(control_plane: Cluster, namespace: str, simulator: Simulation) -> Scene:
    return Scene(control_plane, namespace, simulator)


@pytest.fixture
def port() -> int:
    return processes.free_port()


@pytest.fixture
def deployment(scene: Scene, tmp_path: Path) -> Manifest:
    """The Deployment of the namespaced variant with its objects, in the test's namespace."""
    folder = kustomization(tmp_path / "k", "namespaced", namespace=scene.namespace)
    scene.kubectl("apply", "-k", str(folder))
    token = scene.cluster.service_account_token(scene.namespace, "cse-operator")
    granted = rights_once_granted(scene.cluster, token, scene.namespace, WHERE_IT_SERVES)
    assert granted >= WHERE_IT_SERVES
    return the(kustomized(scene.kubectl, folder), "Deployment")


@pytest.fixture
def start(
    image: Image, deployment: Manifest, scene: Scene, port: int, tmp_path: Path
) -> Iterator[Start]:
    """Start a container as the kubelet would for a Pod of the Deployment."""
    account = tmp_path / "account"
    account.mkdir()
    token = scene.cluster.service_account_token(scene.namespace, "cse-operator")
    (account / "token").write_text(token)
    (account / "ca.crt").write_text(scene.cluster.certificate_authority)
    (account / "namespace").write_text(scene.namespace)
    address = urlsplit(scene.cluster.url)
    environment = {
        **environment_of(deployment),
        "KUBERNETES_SERVICE_HOST": str(address.hostname),
        "KUBERNETES_SERVICE_PORT": str(address.port),
        # The container uses this machine's network and the simulated vendor.
        "CSE_OPERATOR_LISTEN": f"127.0.0.1:{port}",
        "CSE_OPERATOR_PROBE_LISTEN": "",
        "CSE_OPERATOR_CSE_ENDPOINT": scene.simulation.url,
        "CSE_OPERATOR_IAM_ENDPOINT": scene.simulation.url,
        "CSE_OPERATOR_ALLOW_INSECURE_ENDPOINT": "true",
        "CSE_OPERATOR_POLL_INTERVAL": "0.2",
    }
    with ExitStack() as stack:

        def begin() -> Container:
            log = tmp_path / "container.log"
            container = stack.enter_context(Container(image, environment, account, log))
            _wait_until_ready(container, port)
            return container

        yield begin


def probe(port: int, path: str) -> int:
    """Return the HTTP status that the kubelet sees; 0 without an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()


def _wait_until_ready(container: Container, port: int) -> None:
    deadline = time.monotonic() + 60.0
    while probe(port, "/readyz") != 200:
        assert container.is_running(), container.output()
        assert time.monotonic() < deadline, container.output()
        time.sleep(0.05)


# --- content ------------------------------------------------------------------------------------


def test_the_image_says_who_runs_what(image: Image, deployment: Manifest) -> None:
    pod = deployment["spec"]["template"]["spec"]
    # The Pod names no user, so Kubernetes must see from the image's number that it is not root.
    assert pod["securityContext"].keys().isdisjoint({"runAsUser", "runAsGroup"})
    assert image.config["User"] == f"{USER}:{USER}"
    assert image.config["Cmd"] == pod["containers"][0]["args"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.title"] == "cse-operator"
    version = image.run("--version").stdout
    assert labels["org.opencontainers.image.version"] in version


def test_the_image_holds_the_whole_package(image: Image) -> None:
    printed = image.run("crd")

    assert printed.returncode == 0, printed.stderr
    kept = [yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml")]
    assert _by_name(yaml.safe_load_all(printed.stdout)) == _by_name(kept)


def _by_name(objects: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {obj["metadata"]["name"]: obj for obj in objects}


def test_no_program_is_in_it_but_python_and_the_operator(image: Image) -> None:
    programs = {
        name
        for name, path in image.files().items()
        if path.stat().st_mode & 0o111 and not re.search(r"\.so(\.[0-9]+)*$", name)
    }
    [python] = programs - {"/opt/cse-operator/bin/cse-operator"}
    assert re.fullmatch(r"/usr/(local/)?bin/python3\.[0-9]+", python)


@pytest.mark.parametrize(
    "unwanted",
    [
        r"/(ba|da|z|k|c|tc|a)?sh$",
        r"/busybox",
        r"/(apt|apt-get|dpkg|pip[0-9.]*|uv|gcc|perl[0-9.]*|curl|wget)$",
        r"/(pip|ensurepip|setuptools|cse_simulator|tests?)/__init__\.py$",
        r"/cse_operator/cli/demo",
        r"/(kube-apiserver|etcd|kubectl)$",
        r"\.key$",
    ],
)
def test_what_a_burglar_would_use_is_not_in_it(image: Image, unwanted: str) -> None:
    assert [name for name in image.files() if re.search(unwanted, name)] == []


def test_no_file_gives_rights_or_lets_others_write(image: Image) -> None:
    for name, path in image.files().items():
        assert path.stat().st_mode & 0o6022 == 0, name


def test_a_scanner_finds_the_debian_packages_and_the_python_packages(image: Image) -> None:
    described = sorted(image.root.glob("var/lib/dpkg/status.d/*"))
    assert {"libc6", "ca-certificates"} <= {path.name for path in described}
    for path in described:
        assert re.search(r"^Version: \S+$", path.read_text(), re.MULTILINE), path.name
        assert (image.root / f"usr/share/doc/{path.name}/copyright").exists(), path.name
    lock = (ROOT / "requirements.lock").read_text()
    locked = re.findall(r"^([a-z0-9-]+)==", lock, re.MULTILINE)
    installed = {
        path.name.removesuffix(".dist-info")
        for path in image.root.glob("opt/cse-operator/lib/*/site-packages/*.dist-info")
    }
    names = {re.sub("[-_.]+", "-", name.rpartition("-")[0]).lower() for name in installed}
    assert "cse-operator" in names
    assert names <= {*locked, "cse-operator"}


def test_it_finds_time_zones_and_certificates(image: Image) -> None:
    program = (
        "import os, ssl, zoneinfo; print(zoneinfo.ZoneInfo('Asia/Shanghai'))\n"
        "paths = ssl.get_default_verify_paths()\n"
        "print(bool(paths.cafile) or len(os.listdir(paths.capath)) > 50)"
    )
    found = image.run("python3", "-c", program, as_entrypoint=False)
    assert found.stdout.split() == ["Asia/Shanghai", "True"], found.stderr


def test_nothing_can_be_written_anywhere(image: Image) -> None:
    program = """
import os, sys
places = {root for root, *_ in os.walk("/") if not root.startswith("/proc")}
for place in sorted(places):
    try:
        os.close(os.open(os.path.join(place, "probe"), os.O_CREAT | os.O_WRONLY))
    except OSError:
        continue
    print("written:", place)
print(len(places), "places")
"""
    tried = image.run("python3", "-c", program, as_entrypoint=False)

    assert tried.returncode == 0, tried.stderr
    assert "written" not in tried.stdout
    assert int(tried.stdout.split()[0]) > 100


# --- how it runs --------------------------------------------------------------------------------


async def test_it_serves_as_nobody_on_a_read_only_root_and_upgrades(
    start: Start, scene: Scene, port: int
) -> None:
    container = start()

    assert probe(port, "/healthz") == probe(port, "/readyz") == probe(port, "/metrics") == 200
    status = container.status()
    assert set(status["Uid"].split()) == set(status["Gid"].split()) == {str(USER)}
    assert int(status["CapEff"], 16) == int(status["CapPrm"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["NSpid"].split()[-1] == "1"
    mounts = container.mounts()
    assert "ro" in mounts["/"]
    assert "ro" in mounts[f"/{SERVICE_ACCOUNT}"]

    engine = scene.engine()
    scene.secret()
    scene.resource(engine)
    await scene.until_reason("orders", "UpToDate")
    await scene.event("orders", "UpToDate")
    assert scene.accepted(engine) == {"2.4.0": 1}


async def test_stopped_while_a_job_runs_it_follows_the_job_after_its_next_start(
    start: Start, scene: Scene, deployment: Manifest
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(seconds=600), engine.id)
    scene.resource(engine)
    container = start()
    item = await scene.until_reason("orders", "Upgrading")

    assert container.terminate(_grace(deployment)) == 0, container.output()
    scene.admin.end_job(item["status"]["jobId"])
    start()
    item = await scene.until_reason("orders", "UpToDate")

    assert item["status"]["upgrade"]["attempts"] == 1
    assert len(scene.changing_calls(engine)) == 1


async def test_stopped_while_the_vendor_has_not_answered_it_records_the_answer_first(
    start: Start, scene: Scene, deployment: Manifest
) -> None:
    engine = scene.engine()
    scene.secret()
    scene.admin.plan_jobs(JobPlan(seconds=600), engine.id)
    scene.admin.add_fault(Fault(operation="Upgrade", delay_answer_ms=5000))
    scene.resource(engine)
    container = start()
    await scene.admin.wait_for_async("Upgrade", phase="accepted", timeout=60)

    assert container.terminate(_grace(deployment)) == 0, container.output()
    recorded = scene.get("orders")["status"]["jobId"]

    assert recorded == scene.admin.engine(engine.id).latest_job_id
    assert len(scene.changing_calls(engine)) == 1


def _grace(deployment: Manifest) -> float:
    return float(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"])
