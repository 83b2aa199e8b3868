"""`cse-operator check` against a real API server and the simulated vendor."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Callable, Iterator
from copy import deepcopy
from pathlib import Path

import pytest
import yaml

from cse_operator.api import crd
from cse_simulator.control_plane import Cluster, LocalControlPlane
from cse_simulator.vendor.admin_answers import EngineSummary
from cse_simulator.vendor.simulation import Simulation, start_simulator
from support import engines, processes
from support.kubectl import Kubectl
from support.policies import install_policy_crds
from support.repository import ROOT

KEY, SECRET_KEY = "AKDEMODEMODEMODEMO01", "sk-3f1b7d2c9e5a4860"
PROJECT = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"


class Answer:
    """What a check printed."""

    def __init__(self, result: subprocess.CompletedProcess[str]) -> None:
        self.code = result.returncode
        self.text = result.stdout + result.stderr
        self.lines = result.stdout.splitlines()

    def of(self, subject: str) -> list[str]:
        """Return the lines about a subject, without the subject."""
        return [line for line in self.lines if line[9:].startswith(f"{subject}:")]

    def problems(self) -> list[str]:
        return [line for line in self.lines if line.startswith("PROBLEM")]

    def ways_out(self) -> str:
        return "\n".join(line for line in self.lines if "→" in line)


def check(kubeconfig: Path, *flags: str) -> Answer:
    return Answer(
        subprocess.run(
            [sys.executable, "-m", "cse_operator", "check", *flags],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=processes.python_environment({"KUBECONFIG": str(kubeconfig)}),
        )
    )


@pytest.fixture
def vendor() -> Iterator[Simulation]:
    """A vendor that knows one access key."""
    with start_simulator(engines=2, access_key=f"{KEY}:{SECRET_KEY}") as simulation:
        yield simulation


@pytest.fixture
def engine(vendor: Simulation) -> EngineSummary:
    return vendor.admin.engines()[0]


@pytest.fixture
def ask(control_plane: Cluster, namespace: str, vendor: Simulation) -> Callable[..., Answer]:
    """Check the test's namespace against its vendor, as the administrator."""

    def asking(*flags: str, kubeconfig: Path = control_plane.kubeconfig) -> Answer:
        return check(
            kubeconfig,
            f"--namespaces={namespace}",
            f"--cse-endpoint={vendor.url}",
            f"--iam-endpoint={vendor.url}",
            "--allow-insecure-endpoint",
            *flags,
        )

    return asking


@pytest.fixture
def create(control_plane: Cluster, namespace: str, engine: EngineSummary) -> Callable[..., None]:
    """Create a resource `orders` for the engine, and its Secret if values for it are given."""

    def creating(**secret: str) -> None:
        engines.create_engine(
            control_plane, "orders", namespace=namespace, projectId=PROJECT, engineId=engine.id
        )
        if secret:
            engines.create_secret(control_plane, "huaweicloud", namespace=namespace, **secret)

    return creating


def test_a_check_without_problems_prints_each_result(
    ask: Callable[..., Answer],
    create: Callable[..., None],
    control_plane: Cluster,
    engine: EngineSummary,
) -> None:
    create(accessKey=KEY, secretKey=SECRET_KEY)
    answer = ask("--resource=orders")
    assert answer.code == 0, answer.text
    assert answer.problems() == []
    assert f"at {control_plane.url}, as local-admin" in answer.of("cluster")[0]
    assert "are installed, as this version needs them" in answer.of("definition")[0]
    assert len(answer.of("right")) == 9
    assert "1 of kind MicroserviceEngine" in answer.of("resources")[0]
    assert "an access key" in answer.of("Secret")[0]
    assert f"{engine.name} (CSE) is Available at 2.3.1, latest 2.4.0" in answer.of("engine")[0]
    assert "the site has it, with 1 jobs" in answer.of("list of jobs")[0]
    assert "All is right." in answer.lines
    assert SECRET_KEY not in answer.text
    assert KEY not in answer.text


def test_a_site_without_the_list_of_jobs_is_no_problem_but_said(
    ask: Callable[..., Answer], create: Callable[..., None], vendor: Simulation
) -> None:
    create(accessKey=KEY, secretKey=SECRET_KEY)
    vendor.admin.change_settings(job_list="absent")
    answer = ask("--resource=orders")
    assert answer.code == 0, answer.text
    assert answer.problems() == []
    assert "the site does not have it" in answer.of("list of jobs")[0]


def _keyless(cluster: Cluster, namespace: str, vendor: Simulation, engine: EngineSummary) -> None:
    """Create a resource that names a missing ServiceAccount, which the vendor accepts."""
    found = cluster.request("GET", "/.well-known/openid-configuration")
    provider = {
        "name": "cce",
        "issuer": found["issuer"],
        "audience": "cse-operator",
        "jwks": json.loads(Kubectl(cluster)("get", "--raw", "/openid/v1/jwks")),
        "subjects": [f"system:serviceaccount:{namespace}:upgrades"],
    }
    vendor.admin.accept_only(identity_providers=[provider])
    engines.create_engine(
        cluster,
        "orders",
        namespace=namespace,
        projectId=PROJECT,
        engineId=engine.id,
        credentialsRef={"serviceAccount": {"name": "upgrades", "identityProvider": "cce"}},
    )


def test_a_keyless_check_stops_at_the_step_that_fails(
    ask: Callable[..., Answer],
    control_plane: Cluster,
    namespace: str,
    vendor: Simulation,
    engine: EngineSummary,
) -> None:
    _keyless(control_plane, namespace, vendor, engine)
    answer = ask("--resource=orders")
    (problem,) = answer.problems()
    assert "identity: There is no ServiceAccount upgrades" in problem
    assert vendor.admin.counts().get("TradeIdToken", 0) == 0

    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", path, {"metadata": {"name": "upgrades"}})
    answer = ask("--resource=orders", "--token-audience=another")
    (problem,) = answer.problems()
    assert "temporary key: " in problem
    assert "--token-audience" in problem
    assert "the API server issues its token" in answer.of("identity")[0]
    assert answer.of("engine") == []

    answer = ask("--resource=orders")
    assert answer.code == 0, answer.text
    assert "the vendor issued one" in answer.of("temporary key")[0]
    assert f"{engine.name} (CSE) is Available" in answer.of("engine")[0]
    assert "eyJ" not in answer.text


def test_without_a_resource_no_credentials_are_used(
    ask: Callable[..., Answer], create: Callable[..., None], vendor: Simulation
) -> None:
    create(accessKey=KEY, secretKey=SECRET_KEY)
    answer = ask()
    assert answer.code == 0, answer.text
    assert f"{vendor.url} can be reached" in answer.of("endpoint")[0]
    calls = vendor.admin.calls()
    assert [call.operation for call in calls] == ["Unknown"]
    assert "authorization" not in calls[0].headers


def test_wrong_keys_are_tried_once_and_never_shown(
    ask: Callable[..., Answer], create: Callable[..., None], vendor: Simulation
) -> None:
    wrong = "sk-this-is-not-the-key"
    create(accessKey=KEY, secretKey=wrong)
    answer = ask("--resource=orders")
    assert answer.code == 1
    (problem,) = answer.problems()
    assert "verify aksk signature fail" in problem
    assert "APIGW.0301" in problem
    assert "Put working credentials into the Secret" in answer.ways_out()
    assert wrong not in answer.text
    assert len(vendor.admin.calls("ShowEngine")) == 1


def test_a_wrong_password_is_tried_once(
    ask: Callable[..., Answer], create: Callable[..., None]
) -> None:
    with start_simulator(user="alice:right:company") as iam:
        create(username="alice", password="not-right", domainName="company")
        answer = ask("--resource=orders", f"--iam-endpoint={iam.url}")
        assert answer.code == 1
        assert "an IAM user's password" in answer.of("Secret")[0]
        assert iam.admin.counts() == {"IssueToken": 1}
    assert "not-right" not in answer.text


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({}, "There is no Secret huaweicloud"),
        ({"accessKey": KEY}, "has accessKey but lacks secretKey"),
        ({"accessKey": KEY, "secretKey": SECRET_KEY, "token": "t"}, "mixes several kinds"),
    ],
)
def test_a_secret_that_cannot_be_used_is_explained(
    ask: Callable[..., Answer], create: Callable[..., None], values: dict[str, str], sentence: str
) -> None:
    create(**values)
    answer = ask("--resource=orders")
    assert answer.code == 1
    (problem,) = answer.problems()
    assert sentence in problem
    assert answer.ways_out()
    assert KEY not in answer.text
    assert SECRET_KEY not in answer.text


def test_a_resource_that_is_not_there_is_named(ask: Callable[..., Answer], namespace: str) -> None:
    answer = ask("--resource=nothing")
    assert answer.code == 1
    assert answer.of("resource") == [f"PROBLEM  resource: there is no nothing in {namespace}"]


def test_an_engine_that_is_not_there_is_told_from_bad_credentials(
    ask: Callable[..., Answer],
    create: Callable[..., None],
    engine: EngineSummary,
    vendor: Simulation,
) -> None:
    create(accessKey=KEY, secretKey=SECRET_KEY)
    vendor.admin.delete_engine(engine.id)
    answer = ask("--resource=orders")
    assert answer.code == 1
    assert "SVCSTG.00501116" in answer.of("engine")[0]
    assert "Check `engineId`" in answer.ways_out()


def test_a_check_of_a_secret_lists_the_engines_of_a_project(
    ask: Callable[..., Answer], control_plane: Cluster, namespace: str, vendor: Simulation
) -> None:
    engines.create_secret(
        control_plane, "keys", namespace=namespace, accessKey=KEY, secretKey=SECRET_KEY
    )
    answer = ask("--secret=keys", "--region=cn-north-4", f"--project-id={PROJECT}")
    assert answer.code == 0, answer.text
    (project,) = answer.of("project")
    for engine in vendor.admin.engines():
        assert engine.name in project
        assert engine.id in project
    assert len(vendor.admin.calls("ListEngines")) == 1


def test_an_endpoint_out_of_reach_is_a_problem(control_plane: Cluster, namespace: str) -> None:
    nobody = f"http://127.0.0.1:{processes.free_port()}"
    answer = check(
        control_plane.kubeconfig,
        f"--namespaces={namespace}",
        f"--cse-endpoint={nobody}",
        "--allow-insecure-endpoint",
    )
    assert answer.code == 1
    (problem,) = answer.problems()
    assert problem.startswith(f"PROBLEM  endpoint: {nobody} cannot be reached: ")


@pytest.fixture
def account(control_plane: Cluster, namespace: str, tmp_path: Path) -> Path:
    """The kubeconfig of a service account without any rights yet."""
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts"
    control_plane.request("POST", path, {"metadata": {"name": "operator"}})
    token = control_plane.service_account_token(namespace, "operator")
    return control_plane.write_kubeconfig(tmp_path / "kubeconfig", token, namespace)


@pytest.fixture
def bound_account(control_plane: Cluster, namespace: str, account: Path) -> Iterator[Path]:
    """The same account with the operator's installed rights in the test's namespace."""
    group = "rbac.authorization.k8s.io"
    roles = f"/apis/{group}/v1/clusterroles"
    role = yaml.safe_load((ROOT / "deploy/base/cluster-role.yaml").read_text())
    name = f"check-{secrets.token_hex(4)}"
    binding = {
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": namespace}],
    }
    control_plane.request("POST", roles, {**role, "metadata": {"name": name}})
    control_plane.request("POST", f"/apis/{group}/v1/namespaces/{namespace}/rolebindings", binding)
    yield account
    control_plane.request("DELETE", f"{roles}/{name}")


def test_the_rights_that_are_installed_are_all_that_a_check_needs(
    ask: Callable[..., Answer], create: Callable[..., None], bound_account: Path, namespace: str
) -> None:
    create(accessKey=KEY, secretKey=SECRET_KEY)
    answer = ask("--resource=orders", kubeconfig=bound_account)
    assert answer.code == 0, answer.text
    assert f"as system:serviceaccount:{namespace}:operator" in answer.of("cluster")[0]


def test_each_missing_right_is_named_with_its_use(
    ask: Callable[..., Answer], namespace: str, account: Path
) -> None:
    answer = ask(kubeconfig=account)
    assert answer.code == 1
    rights = answer.of("right")
    assert len(rights) == 9
    assert all(line.startswith("PROBLEM") for line in rights)
    assert (
        f"PROBLEM  right: may not get secrets in {namespace}: it is needed to read credentials"
        in rights
    )
    assert "deploy/base" in answer.ways_out()


def test_a_missing_and_an_outdated_definition_are_told_apart(
    private_control_plane: LocalControlPlane,
) -> None:
    cluster = private_control_plane.cluster
    missing = check(cluster.kubeconfig)
    assert missing.code == 1
    assert missing.of("definition")[0].endswith("is not installed")
    assert "cse-operator crd | kubectl apply -f -" in missing.ways_out()

    old = deepcopy(crd.definition())
    schema = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    del schema["properties"]["spec"]["properties"]["upgrade"]["properties"]["retryLimit"]
    cluster.install_crd(old)
    outdated = check(cluster.kubeconfig)
    assert outdated.code == 1
    assert outdated.of("definition")[0].endswith("it differs in spec.upgrade.retryLimit")

    cluster.install_crd(crd.definition())
    without = check(cluster.kubeconfig)
    assert without.code == 1
    assert (
        "UpgradePolicy (cse-operator.io/v1alpha1) is not installed" in without.of("definition")[0]
    )

    install_policy_crds(cluster)
    assert check(cluster.kubeconfig).code == 0
