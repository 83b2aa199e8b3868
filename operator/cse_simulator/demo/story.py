"""The course of the demo, from beginning to end."""

from __future__ import annotations

import queue
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cse_simulator.demo import world
from cse_simulator.demo.children import (
    OperatorProcess,
    operator_environment,
    operator_flags,
    run_operator_command,
)
from cse_simulator.demo.errors import DemoError
from cse_simulator.demo.kubectl import RESOURCES
from cse_simulator.demo.places import Place, cluster_place, current_context, local_place
from cse_simulator.demo.screen import Screen
from cse_simulator.vendor.simulation import Simulation, start_simulator

Resource = Mapping[str, Any]

_SETTLE_SECONDS: Final = 120.0
_TICK_SECONDS: Final = 0.2
_SCHEMA: Final = f"/openapi/v3/apis/{world.GROUP_VERSION}"
_CHECKOUT: Final = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Options:
    """The user's options."""

    keep: bool = False
    current_cluster: bool = False
    assume_yes: bool = False


@dataclass
class _Scene:
    """All parts of a running demo."""

    screen: Screen
    place: Place
    vendor: Simulation
    operator: OperatorProcess
    engine_ids: dict[str, str]
    resources: dict[str, Resource] = field(default_factory=dict)


def tell(screen: Screen, folder: Path, options: Options) -> int:
    """Run the demo; however it ends, stop and remove everything that it started.

    Args:
        screen: The output.
        folder: An empty folder for the demo's files.
        options: The user's options.

    Returns:
        The exit code: 0, or 1 if a result was not as planned.

    Raises:
        ControlPlaneError: There is no API server, and none can be built or started.
        DemoError: The demo cannot go on.
    """
    screen.title(
        "An engine upgrade, end to end",
        "The real operator on a real Kubernetes API server, with a simulated vendor.",
    )
    with ExitStack() as stage:
        # The operator is closed first, as in any uninstallation.
        place = _enter_place(stage, screen, folder, options)
        if place is None:
            return 0
        scene = _set_up(stage, screen, place, folder)
        changes = stage.enter_context(place.kubectl.watch())
        _declare(scene)
        _follow(scene, changes, until=_all_settled)
        good = _sum_up(scene)
        if options.keep:
            _explain_staying(scene)
            _follow(scene, changes)
    _explain_what_next(screen)
    return 0 if good else 1


def _enter_place(stage: ExitStack, screen: Screen, folder: Path, options: Options) -> Place | None:
    """Return the cluster; None if the user declines to use kubectl's current cluster."""
    if not options.current_cluster:
        screen.heading("1  A Kubernetes API server of your own")
        place = stage.enter_context(local_place(folder, screen.say))
        screen.say(f"Real kube-apiserver and etcd at {place.server}, for this demo only.")
        return place
    screen.heading("1  kubectl's current cluster")
    program, context = current_context(folder)
    screen.say(f"Context {context.name}, at {context.server}.")
    screen.say("The demo creates a namespace and removes it at the end. If the resource definition")
    screen.say("is missing, the demo installs it and removes it, too. Operator and simulator run")
    screen.say("on this machine. Nothing else in the cluster is touched.")
    ask = screen.interactive and not options.assume_yes
    if ask and not screen.ask(f"Use the context {context.name}?"):
        screen.say("Nothing was done. Without --cluster the demo starts its own API server.")
        return None
    return stage.enter_context(cluster_place(program, context, folder, screen.say))


def _set_up(stage: ExitStack, screen: Screen, place: Place, folder: Path) -> _Scene:
    screen.heading("2  A simulated vendor")
    vendor = stage.enter_context(
        start_simulator(job_seconds=world.JOB_SECONDS, exit_with_stdin=True)
    )
    engine_ids = world.populate(vendor.admin)
    screen.say(f"cse-simulator at {vendor.url} speaks the API of Huawei Cloud CSE.")
    screen.say(f"Its upgrade jobs take {world.JOB_SECONDS:g} seconds and touch no real engine.")

    environment = operator_environment(_kubeconfig(place))
    screen.heading("3  The resource definition, and credentials")
    if not place.has_definition:
        _install_definition(screen, place, environment)
    screen.command("kubectl apply -f secret.yaml", "an access key; the simulator accepts any")
    place.kubectl("apply", "--filename=-", stdin=world.secret())

    screen.heading("4  The operator")
    flags = operator_flags(place.namespace, vendor.url)
    with screen.busy("checking"):
        _check(screen, flags, environment)
    shown = f"cse-operator run --namespaces={place.namespace} --cse-endpoint={vendor.url} …"
    screen.command(shown)
    operator = OperatorProcess(flags, environment, folder / "operator.log")
    stage.callback(operator.stop)
    with screen.busy("starting"):
        operator.start()
    screen.say(f"It runs as process {operator.pid}, and writes only the status of resources.")
    return _Scene(screen, place, vendor, operator, engine_ids)


def _kubeconfig(place: Place) -> Path:
    if place.kubectl.kubeconfig is None:
        raise DemoError("the demo has no kubeconfig of its own")
    return place.kubectl.kubeconfig


def _install_definition(screen: Screen, place: Place, environment: Mapping[str, str]) -> None:
    screen.command("cse-operator crd | kubectl apply -f -")
    definition = run_operator_command(["crd"], environment)
    if definition.returncode != 0:
        raise DemoError(f"cse-operator crd: {definition.stderr.strip()}")
    place.kubectl("apply", "--filename=-", stdin=definition.stdout)
    place.kubectl("wait", "--for=condition=Established", f"crd/{RESOURCES}", "--timeout=60s")
    _await_schema(place)


def _await_schema(place: Place) -> None:
    """Wait for the schema that `check` reads, which is published shortly after Established."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    while place.kubectl.attempt("get", "--raw", _SCHEMA).returncode != 0:
        if time.monotonic() > deadline:
            raise DemoError(f"the API server does not publish {_SCHEMA}")
        time.sleep(_TICK_SECONDS)


def _check(screen: Screen, flags: list[str], environment: Mapping[str, str]) -> None:
    screen.command("cse-operator check …", "rights, definition, endpoint")
    answer = run_operator_command(["check", *flags], environment)
    if answer.returncode != 0:
        raise DemoError(f"cse-operator check found a problem:\n{answer.stdout}{answer.stderr}")


def _declare(scene: _Scene) -> None:
    screen = scene.screen
    screen.heading("5  Three engines, declared as they would be in Git")
    for sample in world.SAMPLES:
        screen.say(f"{sample.name:<11} {sample.story}")
    screen.command("kubectl apply -f engines.yaml")
    screen.say("")
    scene.place.kubectl("apply", "--filename=-", stdin=world.manifests(scene.engine_ids))


def _follow(
    scene: _Scene,
    changes: queue.Queue[dict[str, Any] | None],
    until: Callable[[Mapping[str, Resource]], bool] | None = None,
) -> None:
    """Show the resources as they change, and restart the operator whenever it ends.

    Args:
        scene: The running demo.
        changes: The queue from `Kubectl.watch`.
        until: The condition to return at; without it, never return.

    Raises:
        DemoError: The condition did not hold in time, or the watch has ended.
    """
    deadline = time.monotonic() + _SETTLE_SECONDS
    with scene.screen.table() as view:
        while True:
            view.show(_in_order(scene.resources))
            if until is not None and until(scene.resources):
                return
            if until is not None and time.monotonic() > deadline:
                raise DemoError(
                    f"the engines did not settle in {_SETTLE_SECONDS:g} s. The operator's last "
                    f"words:\n{scene.operator.last_words()}"
                )
            if scene.operator.keep_running():
                scene.screen.say(f"The operator had ended; it runs again as {scene.operator.pid}.")
            try:
                change = changes.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                continue
            if change is None:
                raise DemoError("the watch of the resources has ended: is the cluster gone?")
            _note(scene.resources, change)


def _note(resources: dict[str, Resource], change: Mapping[str, Any]) -> None:
    resource = change["object"]
    if change["type"] == "DELETED":
        resources.pop(resource["metadata"]["name"], None)
    elif change["type"] in {"ADDED", "MODIFIED"}:
        resources[resource["metadata"]["name"]] = resource


def _in_order(resources: Mapping[str, Resource]) -> list[Resource]:
    """Return the samples in their order, then the user's other resources by name."""
    names = [sample.name for sample in world.SAMPLES]
    others = sorted(resources.keys() - set(names))
    return [resources[name] for name in (*names, *others) if name in resources]


def _all_settled(resources: Mapping[str, Resource]) -> bool:
    return all(sample.name in resources for sample in world.SAMPLES) and all(
        _settled(resource) for resource in resources.values()
    )


def _settled(resource: Resource) -> bool:
    """Return whether the operator is done: the engine is up to date, or a person is needed."""
    generation = resource["metadata"]["generation"]
    conditions = resource.get("status", {}).get("conditions", [])
    return any(
        condition["type"] in {"Ready", "Stalled"}
        and condition["status"] == "True"
        and condition["observedGeneration"] == generation
        for condition in conditions
    )


def _sum_up(scene: _Scene) -> bool:
    """Print the results, and return whether they are as planned."""
    screen = scene.screen
    screen.heading("What happened")
    calls = Counter(call.engine_id for call in scene.vendor.admin.calls("Upgrade"))
    retries = len(scene.vendor.admin.calls("Retry"))
    good = retries == 0
    for sample in world.SAMPLES:
        status = scene.resources[sample.name]["status"]
        received = calls[scene.engine_ids[sample.name]]
        as_planned = (
            status.get("phase") == sample.phase
            and status.get("result", "") == sample.result
            and received == sample.calls
        )
        screen.verdict(_outcome(sample, status, received), good=as_planned)
        if status.get("phase") == "Failed":
            way_out = status.get("message", "").rpartition("; ")[2]
            screen.say(f"              its way out: {way_out}")
        good = good and as_planned
    wanted = sum(sample.calls for sample in world.SAMPLES)
    screen.say("")
    screen.say(
        f"The vendor counted {sum(calls.values()) + retries} upgrade calls for {wanted} wanted "
        "upgrades: exactly one each."
        if good
        else "The demo did not go as planned."
    )
    screen.say("The operator writes down what it is about to do before it calls, and looks at the")
    screen.say("engine when it does not know what became of a call. It never calls on a guess.")
    if not good:
        screen.say(f"The operator's last words:\n{scene.operator.last_words()}")
    return good


def _outcome(sample: world.Sample, status: Mapping[str, Any], received: int) -> str:
    calls = {0: "no upgrade call", 1: "one upgrade call"}.get(received, f"{received} upgrade calls")
    now = status.get("currentVersion", "")
    version = f"still at {now}" if now == sample.version else f"{sample.version} → {now}"
    job = f", job {status['jobId']} {status.get('result')}" if "jobId" in status else ""
    return f"{sample.name:<11} {version}{job}; {calls}"


def _explain_staying(scene: _Scene) -> None:
    screen, place = scene.screen, scene.place
    program = place.kubectl.program
    screen.heading("The demo stays up. In another terminal:")
    screen.command(f"export KUBECONFIG={place.kubectl.kubeconfig}")
    screen.command(f"export PATH=$PATH:{program.parent}", "if you have no kubectl")
    screen.say("")
    screen.command("kubectl get mse --watch")
    screen.command("kubectl describe mse nacos", "why it failed, and the way out")
    screen.command(
        f"kubectl annotate mse nacos {world.RETRY_REQUESTED_AT}=1", "try again: it works"
    )
    patch = """'{"spec":{"version":"2.5.0"}}'"""
    screen.command(f"kubectl patch mse payments --type=merge -p {patch}", "one more upgrade")
    samples = _CHECKOUT / "deploy" / "samples"
    if samples.is_dir():
        screen.command(f"kubectl apply -f {samples}", "more engines")
    screen.command(f"kill -9 {scene.operator.pid}", "kill it in mid-upgrade; it starts again")
    screen.command(f"curl {scene.vendor.url}/_admin/accepted", "the upgrades that took effect")
    screen.command(f"tail -f {scene.operator.log}", "what the operator says")
    screen.say("")
    screen.say("Ctrl-C here ends everything.")
    screen.say("")


def _explain_what_next(screen: Screen) -> None:
    screen.heading("All of it is stopped and removed. What to try next")
    screen.command("make demo KEEP=1", "stays up for your own kubectl")
    screen.command("make demo CLUSTER=current", "--cluster current: use kubectl's current cluster")
    command = shutil.which("cse-operator") or Path(sys.executable).with_name("cse-operator")
    screen.command(f"{command} check --help", "check a cluster and credentials")
    screen.say("README.md says how to install, docs/simulator.md how to rehearse faults.")
