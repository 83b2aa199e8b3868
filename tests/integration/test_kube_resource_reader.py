"""Reading resources past the watch, on the real API server."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import yaml
from kubernetes.aio.client import ApiClient

from cse_operator.kube import connection, errors
from cse_operator.kube.references import ObjectReference
from cse_operator.kube.resource_reader import ResourceReader
from cse_simulator.control_plane import Cluster, LocalControlPlane
from support.engines import create_engine, engine_path, patch_engine
from support.repository import CRDS


@pytest.fixture
async def client(control_plane: Cluster) -> AsyncIterator[ApiClient]:
    """The operator's API client, as the administrator."""
    async with await connection.connect(kubeconfig=str(control_plane.kubeconfig)) as client:
        yield client


async def test_a_resource_is_read_as_it_is_right_now(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    engine = create_engine(control_plane, "orders", namespace=namespace)
    reader = ResourceReader(client)
    reference = ObjectReference(namespace, "orders", engine["metadata"]["uid"])
    assert await reader.get(reference) == engine
    for version in ("2.5.0", "2.6.0"):
        patched = patch_engine(
            control_plane, "orders", {"spec": {"version": version}}, namespace=namespace
        )
        assert await reader.get((namespace, "orders")) == patched


async def test_a_missing_or_replaced_resource_reads_as_none(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    reader = ResourceReader(client)
    assert await reader.get((namespace, "orders")) is None
    create_engine(control_plane, "orders", namespace=namespace)
    assert await reader.get(ObjectReference(namespace, "orders", "another-uid")) is None


async def test_pages_hold_every_resource_once(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    names = {f"engine-{number}" for number in range(7)}
    for name in names:
        create_engine(control_plane, name, namespace=namespace)
    pages = [
        [item["metadata"]["name"] for item in page]
        async for page in ResourceReader(client, page_size=3).list_pages([namespace])
    ]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert sorted(name for page in pages for name in page) == sorted(names)


async def test_a_namespace_that_is_named_twice_is_read_once(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    create_engine(control_plane, "orders", namespace=namespace)
    pages = [page async for page in ResourceReader(client).list_pages([namespace, namespace])]
    assert [len(page) for page in pages] == [1]


async def test_no_namespace_means_all(
    client: ApiClient, control_plane: Cluster, namespace: str
) -> None:
    create_engine(control_plane, "orders", namespace=namespace)
    found = {
        (item["metadata"]["namespace"], item["kind"])
        async for page in ResourceReader(client, page_size=2).list_pages([])
        for item in page
    }
    assert (namespace, "MicroserviceEngine") in found


async def test_a_list_that_outlives_its_snapshot_starts_again(
    private_control_plane: LocalControlPlane,
) -> None:
    cluster = private_control_plane.cluster
    cluster.install_crd(yaml.safe_load((CRDS / "microserviceengines.yaml").read_text()))
    for number in range(5):
        create_engine(cluster, f"engine-{number}", namespace="default")
    async with await connection.connect(kubeconfig=str(cluster.kubeconfig)) as client:
        pages = ResourceReader(client, page_size=2).list_pages(["default"])
        seen = [await anext(pages)]
        cluster.request("DELETE", engine_path("default", "engine-0"))
        private_control_plane.compact_etcd()
        private_control_plane.restart_api_server()  # otherwise it serves its own snapshots
        seen += [page async for page in pages]
    names = [[item["metadata"]["name"] for item in page] for page in seen]
    assert names == [
        ["engine-0", "engine-1"],
        ["engine-1", "engine-2"],
        ["engine-3", "engine-4"],
    ]


async def test_without_the_crd_nothing_is_said_about_objects(
    private_control_plane: LocalControlPlane,
) -> None:
    kubeconfig = private_control_plane.cluster.kubeconfig
    async with await connection.connect(kubeconfig=str(kubeconfig)) as client:
        reader = ResourceReader(client)
        with pytest.raises(errors.Unavailable, match="is the CRD installed"):
            await reader.get(("default", "orders"))
        with pytest.raises(errors.Unavailable, match="is the CRD installed"):
            await anext(reader.list_pages([]))
