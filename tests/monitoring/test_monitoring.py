"""Rules, exposition and dashboard, judged by Prometheus itself over a real run."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

from cse_operator.api.reasons import Reason
from cse_simulator.admin import start_simulator
from support import processes
from support.operator_process import OperatorProcess

ROOT = Path(__file__).resolve().parents[2]
PROMETHEUS_READY_SECONDS = 60


def dashboard_queries() -> list[str]:
    sys.path.insert(0, str(ROOT / "hack"))
    try:
        spec = importlib.util.spec_from_file_location("monitoring", ROOT / "hack/monitoring.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.queries()
    finally:
        sys.path.remove(str(ROOT / "hack"))


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

    untold = {Reason.UP_TO_DATE, Reason.SUBMITTING, Reason.UPGRADING, Reason.SUSPENDED}
    assert told == {reason.value: 1 for reason in set(Reason) - untold}


def test_every_alert_has_its_page_in_the_runbook():
    runbook = (ROOT / "docs/runbook.md").read_text()

    for rule in alerts():
        assert f"\n## {rule['alert']}\n" in runbook
        assert rule["annotations"]["runbook_url"] == f"docs/runbook.md#{rule['alert'].lower()}"


def test_every_query_of_the_dashboard_returns_data_of_a_real_run(
    prometheus_tools, control_plane, namespace, tmp_path
):
    with start_simulator(engines=3, version="2.3.1", latest="2.4.0", job_seconds=0.5) as simulator:
        _create_engines(control_plane, namespace, simulator)
        with (
            OperatorProcess(
                Path(control_plane.kubeconfig),
                tmp_path / "operator.log",
                namespaces=[namespace],
                cse_endpoint=simulator.url,
                flags=["--poll-interval=0.5"],
            ) as operator,
            _Prometheus(prometheus_tools, operator.port, tmp_path) as prometheus,
        ):
            simulator.admin.wait_for("ShowEngineJob", count=3, timeout=60)
            exposition = operator.get("/metrics")[1]
            checked = subprocess.run(
                [str(prometheus_tools / "promtool"), "check", "metrics"],
                input=exposition,
                text=True,
                capture_output=True,
                check=False,
            )
            assert checked.returncode == 0, checked.stdout + checked.stderr
            for query in dashboard_queries():
                resolved = query.replace("$namespace", namespace).replace("$name", "e0")
                # A window of a dashboard's size finds nothing in a run of seconds.
                resolved = re.sub(r"\[(5m|1h|1d)\]", "[1m]", resolved)
                prometheus.wait_for_data(resolved)


def _create_engines(cluster, namespace, simulator):
    path = f"/api/v1/namespaces/{namespace}/secrets"
    secret = {"metadata": {"name": "cloud"}, "stringData": {"token": "a-token"}}
    cluster.request("POST", path, {"apiVersion": "v1", "kind": "Secret", **secret})
    for number, engine in enumerate(simulator.admin.engines()):
        cluster.request(
            "POST",
            f"/apis/cse-operator.io/v1alpha1/namespaces/{namespace}/microserviceengines",
            {
                "apiVersion": "cse-operator.io/v1alpha1",
                "kind": "MicroserviceEngine",
                "metadata": {"name": f"e{number}"},
                "spec": {
                    "region": "cn-north-4",
                    "projectId": engine.project_id,
                    "engineId": engine.id,
                    "version": "2.4.0",
                    "credentialsRef": {"name": "cloud"},
                },
            },
        )


class _Prometheus:
    """A real Prometheus that scrapes one operator every second."""

    def __init__(self, tools: Path, operator_port: int, folder: Path) -> None:
        self.port = processes.free_port()
        # As service discovery labels a Pod; ServiceMonitor and docs/install.md ask for the latter.
        labels = {"namespace": "cse-system", "pod": "cse-operator-0"}
        target = {"targets": [f"127.0.0.1:{operator_port}"], "labels": labels}
        scrape = {"job_name": "cse-operator", "honor_labels": True, "static_configs": [target]}
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

    def wait_for_data(self, query: str) -> None:
        deadline = time.monotonic() + PROMETHEUS_READY_SECONDS
        while time.monotonic() < deadline:
            if self._query(query):
                return
            assert self._process.poll() is None, "prometheus ended"
            time.sleep(0.5)  # Prometheus has no way to wait for a sample
        raise AssertionError(f"no data for {query}")

    def _query(self, query: str) -> list:
        url = f"http://127.0.0.1:{self.port}/api/v1/query?"
        try:
            with urllib.request.urlopen(url + urllib.parse.urlencode({"query": query})) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        except OSError:
            return []
