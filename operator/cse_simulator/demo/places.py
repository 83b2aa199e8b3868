"""The demo's cluster: a new API server on this machine, or kubectl's current cluster."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cse_simulator.control_plane import LocalControlPlane, ensure_assets, find_assets
from cse_simulator.demo.errors import DemoError
from cse_simulator.demo.kubectl import POLICIES, RESOURCES, Kubectl

Say = Callable[[str], None]

_LOCAL_NAMESPACE: Final = "demo"


@dataclass(frozen=True)
class Place:
    """A cluster and a namespace in it."""

    kubectl: Kubectl
    namespace: str
    server: str
    has_definition: bool
    """Whether the CustomResourceDefinition existed before the demo."""


@dataclass(frozen=True)
class Context:
    """kubectl's current context."""

    name: str
    server: str
    configuration: dict[str, Any]
    """A complete kubeconfig with this context only."""


@contextmanager
def local_place(folder: Path, say: Say) -> Iterator[Place]:
    """Run an API server on this machine for the `with` block.

    Raises:
        ControlPlaneError: The API server cannot be built or started.
        DemoError: There is no kubectl.
    """
    assets = ensure_assets(say)
    if assets.kubectl is None:
        raise DemoError(
            f"kubectl is neither in PATH nor beside kube-apiserver in {assets.directory}. "
            "The demo needs kubectl: install it, or use binaries that include it."
        )
    with LocalControlPlane(assets) as control_plane:
        cluster = control_plane.cluster
        kubeconfig = cluster.write_kubeconfig(
            folder / "kubeconfig", cluster.token, _LOCAL_NAMESPACE
        )
        kubectl = Kubectl(assets.kubectl.resolve(), folder / "kubectl-cache", kubeconfig)
        cluster.create_namespace(_LOCAL_NAMESPACE)
        yield Place(kubectl, _LOCAL_NAMESPACE, cluster.url, has_definition=False)


def current_context(folder: Path) -> tuple[Path, Context]:
    """Return kubectl's path and its current context.

    Raises:
        DemoError: There is no kubectl, or it has no current context.
    """
    program = _find_kubectl()
    kubectl = Kubectl(program, folder / "kubectl-cache")
    answer = kubectl.attempt("config", "view", "--minify", "--flatten", "--raw", "--output=json")
    if answer.returncode != 0:
        raise DemoError(
            f"kubectl has no current context ({answer.stderr.strip()}). Choose a cluster with "
            "`kubectl config use-context NAME`, or omit --cluster: then the demo starts its own "
            "API server."
        )
    found = json.loads(answer.stdout)
    server = found["clusters"][0]["cluster"]["server"]
    return program, Context(found["current-context"], server, found)


@contextmanager
def cluster_place(program: Path, context: Context, folder: Path, say: Say) -> Iterator[Place]:
    """Create a namespace in a user's cluster, and remove it at the end of the block.

    Raises:
        DemoError: The namespace cannot be created, or an operator runs in the cluster.
    """
    namespace = f"cse-demo-{secrets.token_hex(3)}"
    kubeconfig = folder / "kubeconfig"
    kubeconfig.touch(mode=0o600)
    context.configuration["contexts"][0]["context"]["namespace"] = namespace
    kubeconfig.write_text(json.dumps(context.configuration))
    kubectl = Kubectl(program, folder / "kubectl-cache", kubeconfig)
    has_definition = _has_definition(kubectl)
    if has_definition:
        _refuse_beside_an_operator(kubectl)
    with ExitStack() as ending:
        # Registered before the creation: a stop may come while the cluster creates it.
        ending.callback(_remove_namespace, kubectl, namespace, say)
        kubectl("create", "namespace", namespace)
        say(f"Made the namespace {namespace}. If the demo is killed, remove it yourself:")
        say(f"  kubectl --context {context.name} delete namespace {namespace}")
        if not has_definition:
            ending.callback(_remove_definition, kubectl, namespace, say)
        yield Place(kubectl, namespace, context.server, has_definition)


def _find_kubectl() -> Path:
    on_path = shutil.which("kubectl")
    if on_path is not None:
        return Path(on_path).resolve()
    assets = find_assets()
    if assets is None or assets.kubectl is None:
        raise DemoError("kubectl is not in PATH, so there is no current context")
    return assets.kubectl.resolve()


def _has_definition(kubectl: Kubectl) -> bool:
    return bool(kubectl("get", "crd", RESOURCES, "--ignore-not-found", "--output=name").strip())


def _refuse_beside_an_operator(kubectl: Kubectl) -> None:
    """Refuse a cluster with an operator: it would serve the demo's resources at the real vendor."""
    label = "--selector=app.kubernetes.io/name=cse-operator"
    answer = kubectl.attempt("get", "deployments", "--all-namespaces", label, "--output=name")
    if answer.returncode != 0:
        raise DemoError(
            "the resource definition is installed in this cluster, and the demo cannot see "
            f"whether an operator is, too: {answer.stderr.strip()}. That operator would also "
            "serve the demo's resources; run the demo without --cluster."
        )
    if answer.stdout.strip():
        raise DemoError(
            f"an operator works in this cluster ({answer.stdout.split()[0]}). It would also serve "
            "the demo's resources, with made-up credentials at the real vendor; run the demo "
            "without --cluster, or in another cluster."
        )


def _remove_namespace(kubectl: Kubectl, namespace: str, say: Say) -> None:
    # No need to wait: by now nothing in the namespace can delay its end.
    _attempt(kubectl, say, "delete", "namespace", namespace, "--ignore-not-found", "--wait=false")


def _remove_definition(kubectl: Kubectl, namespace: str, say: Say) -> None:
    """Remove the definition, unless another namespace uses it by now."""
    if not _has_definition(kubectl):
        return
    listed = json.loads(kubectl("get", RESOURCES, "--all-namespaces", "--output=json"))
    if any(item["metadata"]["namespace"] != namespace for item in listed["items"]):
        say("The resource definition stays, because another namespace uses it by now.")
        return
    _attempt(kubectl, say, "delete", "crd", RESOURCES, *POLICIES, "--timeout=30s")


def _attempt(kubectl: Kubectl, say: Say, *arguments: str) -> None:
    """Do one part of the clean-up; if it fails, say what is left to do, and let the rest go on."""
    answer = kubectl.attempt(*arguments)
    command = f"kubectl {' '.join(arguments)}"
    say(f"  {command}" if answer.returncode == 0 else f"  {command}: {answer.stderr.strip()}")
