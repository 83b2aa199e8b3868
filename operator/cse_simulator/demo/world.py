"""The demo's samples: engines at the simulated vendor, and the resources that manage them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import yaml

from cse_simulator.vendor.admin import AdminClient
from cse_simulator.vendor.engines import DEFAULT_PROJECT
from cse_simulator.vendor.jobs import JobPlan

REGION: Final = "cn-north-4"
SECRET: Final = "huaweicloud"  # noqa: S105 - its name
JOB_SECONDS: Final = 5.0
GROUP_VERSION: Final = "cse-operator.io/v1alpha1"
RETRY_REQUESTED_AT: Final = "cse-operator.io/retry-requested-at"


@dataclass(frozen=True)
class Sample:
    """A resource of the demo, its engine, and the expected result."""

    name: str
    type: str
    version: str
    """The engine's version at the start."""
    latest_version: str
    wanted: str
    story: str
    phase: str
    """The phase that the resource settles in."""
    result: str
    """The result of the upgrade call; empty if there is no call."""
    plan: JobPlan | None = None
    retry_limit: int | None = None

    @property
    def calls(self) -> int:
        """The expected number of upgrade calls."""
        return 1 if self.result else 0


SAMPLES: Final = (
    Sample(
        name="storefront",
        type="CSE",
        version="2.3.1",
        latest_version="2.4.0",
        wanted="2.4.0",
        story="a ServiceComb engine at 2.3.1, wanted at 2.4.0: gets one upgrade call",
        phase="UpToDate",
        result="Succeeded",
    ),
    Sample(
        name="payments",
        type="CSE",
        version="2.4.0",
        latest_version="2.5.0",
        wanted="2.4.0",
        story="a ServiceComb engine that is at 2.4.0 already: gets no call",
        phase="UpToDate",
        result="",
    ),
    Sample(
        name="nacos",
        type="NACOS",
        version="2.1.0.1",
        latest_version="2.1.0.16",
        wanted="2.1.0.16",
        story="a Nacos engine whose upgrade job is going to fail at the vendor",
        phase="Failed",
        result="Failed",
        plan=JobPlan(outcome="error", step=3, seconds=4.0),
        retry_limit=0,
    ),
)

ENGINES_OF_DEPLOY_SAMPLES: Final = (
    ("orders", "CSE", "891bf21a-4024-4f47-b38c-bd259ca8f10a", "0"),
    ("registry", "NACOS", "5d3a1c57-6e0b-4f6e-9d5e-2f8f4b1a7c60", "0"),
    (
        "gateway",
        "MICROGATEWAY",
        "c2f2a1de-0b0e-4c39-8a55-71d1f0a4e9b3",
        "7f0d3c9a-4b1e-4c55-9a42-0d8b5c6e1f27",
    ),
)
"""Name, type, id and enterprise project of the engines that `deploy/samples` names, so that a user
can apply the samples while the demo stays up."""


def populate(vendor: AdminClient) -> dict[str, str]:
    """Create all engines at the simulated vendor.

    Returns:
        The engine id of each sample, by the sample's name.
    """
    ids = {}
    for sample in SAMPLES:
        engine = vendor.create_engine(
            sample.name,
            type=sample.type,
            version=sample.version,
            latest_version=sample.latest_version,
        )
        ids[sample.name] = engine.id
        if sample.plan is not None:
            vendor.plan_jobs(sample.plan, engine.id)
    for name, type_, id_, enterprise_project in ENGINES_OF_DEPLOY_SAMPLES:
        vendor.create_engine(name, type=type_, id=id_, enterprise_project_id=enterprise_project)
    return ids


def manifests(engine_ids: dict[str, str]) -> str:
    """Return the resources as a user would write them, as YAML."""
    return yaml.safe_dump_all(
        [_manifest(sample, engine_ids[sample.name]) for sample in SAMPLES], sort_keys=False
    )


def secret() -> str:
    """Return a Secret with an access key, as YAML; the simulated vendor accepts any key."""
    keys = {"accessKey": "demo-access-key", "secretKey": "demo-secret-key"}
    return yaml.safe_dump(
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": keys},
        sort_keys=False,
    )


def _manifest(sample: Sample, engine_id: str) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "region": REGION,
        "projectId": DEFAULT_PROJECT,
        "engineId": engine_id,
        "version": sample.wanted,
        "credentialsRef": {"name": SECRET},
    }
    if sample.retry_limit is not None:
        spec["upgrade"] = {"retryLimit": sample.retry_limit}
    return {
        "apiVersion": GROUP_VERSION,
        "kind": "MicroserviceEngine",
        "metadata": {"name": sample.name},
        "spec": spec,
    }
