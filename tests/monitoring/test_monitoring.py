"""Rules, metrics and dashboard, checked by Prometheus itself over a real run."""

from __future__ import annotations

import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from cse_operator.api.reasons import HELD, Reason
from cse_operator.api.status import Phase
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.jobs import JobPlan
from cse_simulator.vendor.simulation import start_simulator
from support import processes
from support.engines import engine_manifest
from support.operator_process import OperatorProcess
from support.policies import policy_manifest
from support.scene import Scene

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS_READY_SECONDS = 60


def board() -> dict[str, Any]:
    return json.loads((ROOT / "deploy/monitoring/dashboard.json").read_text())


def queries_of(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel.get("targets", [])]


def test_the_alert_rules_pass_their_unit_tests(prometheus_tools):
    promtool = str(prometheus_tools / "promtool")
    rules = str(ROOT / "deploy/monitoring/rules.yaml")
    tests = str(ROOT / "tests/monitoring/rules_test.yaml")

    subprocess.run([promtool, "check", "rules", rules], check=True)
    subprocess.run([promtool, "test", "rules", tests], check=True)


def alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())
    return [rule for rule in rules["groups"][0]["rules"] if "alert" in rule]


def test_every_reason_to_be_told_of_has_exactly_one_alert():
    told = Counter(
        reason
        for rule in alerts()
        for reasons in re.findall(r'engines_not_ready\{reason=~?"([^"]+)"\}', rule["expr"])
        for reason in reasons.split("|")
    )

    untold = {
        *(Reason.UP_TO_DATE, Reason.SUBMITTING, Reason.UPGRADING),
        *(Reason.SUSPENDED, Reason.OBSERVE_ONLY),
        # CseHeldTooLong reports long holds, and other alerts report what is wrong with a policy.
        *(set(HELD) - {Reason.NEVER_OPENS, Reason.POLICIES_UNKNOWN, Reason.NO_POLICY}),
    }
    assert told == {reason.value: 1 for reason in set(Reason) - untold}


def test_every_alert_has_its_page_in_the_runbook():
    runbook = (ROOT / "docs/runbook.md").read_text()

    for rule in alerts():
        assert f"\n## {rule['alert']}\n" in runbook
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_the_timeline_has_a_number_and_a_text_for_every_phase():
    [timeline] = [panel for panel in board()["panels"] if panel["type"] == "state-timeline"]
    [mapping] = timeline["fieldConfig"]["defaults"]["mappings"]
    [query] = queries_of(timeline)

    texts = {number: state["text"] for number, state in mapping["options"].items()}
    numbers = dict(re.findall(r'(\d) \* cse_operator_engine_info{[^}]*phase="(\w+)"}', query))
    assert texts == numbers
    assert sorted(texts.values()) == sorted(Phase)


async def test_every_query_of_the_dashboard_returns_data_of_a_real_run(
    prometheus_tools, control_plane, namespace, tmp_path
):
    with start_simulator(job_seconds=0.5) as simulation:
        scene = Scene(control_plane, namespace, simulation)
        with (
            OperatorProcess(
                Path(control_plane.kubeconfig),
                tmp_path / "operator.log",
                namespaces=[namespace],
                cse_endpoint=simulation.url,
                flags=["--poll-interval=0.5"],
            ) as operator,
            _Prometheus(prometheus_tools, operator.port, tmp_path) as prometheus,
        ):
            # Scrape before the first upgrade, so that its end is an increase.
            prometheus.wait_for_data("cse_operator_leader == 1")
            await _play(scene)
            _check_exposition(prometheus_tools, operator.get("/metrics")[1])
            prometheus.wait_for_data("cse_operator_throttled_seconds_total > 0")
            prometheus.wait_for_data("increase(cse_operator_upgrades_total[1m]) > 0")
            for panel in board()["panels"]:
                for query in queries_of(panel):
                    columns = prometheus.wait_for_data(_resolved(query, namespace))
                    if panel["type"] == "table":
                        assert {*_shown(panel)} <= {*columns, "Value", "cluster"}, panel["title"]
            assert prometheus.values_of(_variable("namespace"), namespace) == {namespace}
            assert prometheus.values_of(_variable("name"), namespace) == {*ENGINES, "held"}


ENGINES = {"done", "failed", "overdue", "throttled"}


async def _play(scene):
    """Bring an engine to each of the ends that the dashboard shows."""
    scene.secret()
    _hold(scene)
    engines = {name: scene.engine(name) for name in ENGINES}
    scene.admin.plan_jobs(JobPlan(outcome="error"), engines["failed"].id)
    scene.admin.plan_jobs(JobPlan(outcome="never"), engines["overdue"].id)
    scene.admin.add_fault(
        Fault(operation="Upgrade", engine_id=engines["throttled"].id, status=429, retry_after=1)
    )
    scene.resource(engines["done"])
    scene.resource(engines["failed"], upgrade={"retryLimit": 0})
    scene.resource(engines["overdue"], upgrade={"timeout": "1s"})
    scene.resource(engines["throttled"])
    await scene.until_reason("done", "UpToDate")
    _want_what_is_held(scene)
    await scene.until_reason("failed", "UpgradeFailed")
    await scene.until_reason("overdue", "UpgradeOverdue")
    await scene.until_reason("throttled", "UpToDate")
    await scene.until_reason("held", "OutsideWindow")


def _hold(scene: Scene) -> None:
    """Create a policy that holds one more engine until its window opens."""
    far = datetime.now(UTC) + timedelta(days=180)
    policy = policy_manifest(
        scene.namespace,
        selector={"matchLabels": {"tier": "held"}},
        windows=[{"name": "far", "schedule": f"0 2 1 {far:%b} *".upper(), "duration": "4h"}],
        maxConcurrent=1,
    )
    scene.kubectl("create", "-f", "-", stdin=yaml.safe_dump(policy))


def _want_what_is_held(scene: Scene) -> None:
    engine = scene.engine("held")
    manifest = engine_manifest(
        "held", namespace=scene.namespace, projectId=scene.project, engineId=engine.id
    )
    manifest["metadata"]["labels"] = {"tier": "held"}
    scene.kubectl("create", "-f", "-", stdin=yaml.safe_dump(manifest))


def _check_exposition(tools: Path, exposition: str) -> None:
    command = [str(tools / "promtool"), "check", "metrics"]
    checked = subprocess.run(command, input=exposition, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def _resolved(query: str, namespace: str) -> str:
    """Return the query without its `or vector(0)`, which would hide a misspelt name."""
    chosen = query.replace("$namespace", namespace).replace("$name", "overdue")
    chosen = chosen.replace("$cluster", ".*")
    # The dashboard's windows find nothing in a run of seconds.
    return re.sub(r"\[(5m|1h|1d)\]", "[1m]", chosen.removesuffix(" or vector(0)"))


def _shown(panel: dict[str, Any]) -> list[str]:
    [names] = [
        change["options"]["include"]["names"]
        for change in panel["transformations"]
        if change["id"] == "filterFieldsByName"
    ]
    return names


def _variable(name: str) -> str:
    [variable] = [v for v in board()["templating"]["list"] if v["name"] == name]
    return variable["query"]["query"]


class _Prometheus:
    """A real Prometheus that scrapes one operator every second."""

    def __init__(self, tools: Path, operator_port: int, folder: Path) -> None:
        self.port = processes.free_port()
        # The labels that service discovery gives to a Pod.
        labels = {"namespace": "cse-system", "pod": "cse-operator-0"}
        target = {"targets": [f"127.0.0.1:{operator_port}"], "labels": labels}
        scrape = {"job_name": "cse-operator", "static_configs": [target]}
        config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [scrape]}
        (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
        self._log = (folder / "prometheus.log").open("w")
        self._process = subprocess.Popen(
            [
                str(tools / "prometheus"),
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address=127.0.0.1:{self.port}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait(30)
        self._log.close()

    def wait_for_data(self, query: str) -> set[str]:
        """Wait until a query returns something; return the labels of the first result."""
        deadline = time.monotonic() + PROMETHEUS_READY_SECONDS
        while time.monotonic() < deadline:
            found = self._get("query", {"query": query})
            if found and found["result"]:
                return set(found["result"][0]["metric"])
            assert self._process.poll() is None, "prometheus ended"
            time.sleep(0.5)  # Prometheus offers no event for a sample
        raise AssertionError(f"no data for {query}")

    def values_of(self, variable: str, namespace: str) -> set[str]:
        """Return the values that Grafana would offer for a variable, by Grafana's own request."""
        [(series, label)] = re.findall(r"^label_values\((.+), (\w+)\)$", variable)
        series = series.replace("$namespace", namespace).replace("$cluster", ".*")
        return set(self._get(f"label/{label}/values", {"match[]": series}))

    def _get(self, path: str, parameters: dict[str, str]) -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}?" + urllib.parse.urlencode(parameters)
        try:
            with urllib.request.urlopen(url) as answer:
                return json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{url}: {error.read().decode()}") from None
        except OSError:
            return None


def test_alertmanager_sends_every_alert_of_ours_to_the_engines_receiver(alertmanager_tools):
    amtool, config = (
        str(alertmanager_tools / "amtool"),
        ROOT / "deploy/notifications/alertmanager.yaml",
    )
    subprocess.run([amtool, "check-config", str(config)], check=True)
    rules = yaml.safe_load((ROOT / "deploy/monitoring/rules.yaml").read_text())
    names = {
        rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule
    }
    for name, receiver in [*((name, "engines") for name in names), ("Watchdog", "default")]:
        route = [amtool, "config", "routes", "test", f"--config.file={config}"]
        labels = [f"alertname={name}", "namespace=payments"]
        subprocess.run([*route, f"--verify.receivers={receiver}", *labels], check=True)
