"""Connecting to the cluster, and staying connected when credentials change."""

from __future__ import annotations

import base64
import logging
import os
import ssl
from collections.abc import Callable
from pathlib import Path

import certifi
import kopf
import pytest
import yaml
from kubernetes.aio.client import ApiClient

from cse_operator.kube import connection, kopf_watch
from cse_operator.kube.errors import NotConfigured
from support.api_server_stub import api_server_stub, reply, write_kubeconfig

IN_A_POD = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "443"}


class Clock:
    """A clock that moves only when the test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def service_account(tmp_path: Path) -> Path:
    """The folder with a Pod's credentials."""
    folder = tmp_path / "serviceaccount"
    folder.mkdir()
    (folder / "token").write_text("first-token\n")
    (folder / "ca.crt").write_text(a_certificate())
    return folder


def a_certificate() -> str:
    """Return any CA certificate, in PEM."""
    end = "-----END CERTIFICATE-----\n"
    begin = "-----BEGIN CERTIFICATE-----"
    bundle = Path(certifi.where()).read_text(encoding="utf-8")
    return bundle[bundle.index(begin) : bundle.index(end)] + end


async def token_of(client: ApiClient) -> str | None:
    """Return the header that the next request would carry."""
    token: str | None = await client.configuration.get_api_key_with_prefix("BearerToken")
    return token


async def test_a_pod_uses_its_service_account(service_account: Path) -> None:
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account
    ) as client:
        assert client.configuration.host == "https://10.0.0.1:443"
        assert client.configuration.ssl_ca_cert == str(service_account / "ca.crt")
        assert await token_of(client) == "Bearer first-token"


async def test_an_ipv6_service_address_is_put_into_brackets(service_account: Path) -> None:
    environ = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    async with await connection.connect(environ=environ, service_account=service_account) as client:
        assert client.configuration.host == "https://[fd00::1]:443"


async def test_a_rotated_token_is_used_within_a_minute(service_account: Path) -> None:
    clock = Clock()
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account, clock=clock
    ) as client:
        (service_account / "token").write_text("second-token")
        clock.now = 59.0
        assert await token_of(client) == "Bearer first-token"
        clock.now = 60.0
        assert await token_of(client) == "Bearer second-token"


@pytest.mark.parametrize(
    "spoil", [Path.unlink, lambda path: path.write_text(""), lambda path: path.write_bytes(b"\xff")]
)
async def test_a_token_that_cannot_be_read_again_stays_in_use(
    service_account: Path, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account, clock=clock
    ) as client:
        spoil(service_account / "token")
        clock.now = 60.0
        with caplog.at_level(logging.WARNING, logger="cse_operator.kube.connection"):
            assert await token_of(client) == "Bearer first-token"
        assert "could not be read again" in caplog.text
        (service_account / "token").write_text("second-token")
        clock.now = 120.0
        assert await token_of(client) == "Bearer second-token"


async def test_a_kubeconfig_that_is_named_wins_over_the_pod(
    service_account: Path, tmp_path: Path
) -> None:
    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
    environ = {**IN_A_POD, "KUBECONFIG": str(kubeconfig)}
    async with await connection.connect(environ=environ, service_account=service_account) as client:
        assert client.configuration.host == "http://127.0.0.1:1"
        assert await token_of(client) == "Bearer token-of-the-test"


async def test_an_argument_wins_over_the_environment(tmp_path: Path) -> None:
    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
    async with await connection.connect(
        kubeconfig=str(kubeconfig), environ={"KUBECONFIG": "/nowhere"}
    ) as client:
        assert client.configuration.host == "http://127.0.0.1:1"


async def test_a_new_token_in_the_kubeconfig_is_used_after_a_while(tmp_path: Path) -> None:
    clock = Clock()
    kubeconfig = write_kubeconfig(tmp_path, "http://127.0.0.1:1")
    async with await connection.connect(kubeconfig=str(kubeconfig), clock=clock) as client:
        write_kubeconfig(tmp_path, "http://127.0.0.1:1", token="renewed")
        clock.now = 299.0
        assert await token_of(client) == "Bearer token-of-the-test"
        clock.now = 300.0
        assert await token_of(client) == "Bearer renewed"


async def test_no_way_in_is_said_with_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(NotConfigured, match=r"no cluster to talk to: .* Set KUBECONFIG"):
        await connection.connect(environ={}, service_account=tmp_path / "nothing")


async def test_a_kubeconfig_that_is_named_but_missing_is_not_passed_over(
    service_account: Path,
) -> None:
    environ = {**IN_A_POD, "KUBECONFIG": "/does/not/exist"}
    with pytest.raises(NotConfigured, match="/does/not/exist does not exist"):
        await connection.connect(environ=environ, service_account=service_account)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "{}", "\x00"])
async def test_a_malformed_kubeconfig_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)
    with pytest.raises(NotConfigured, match="cannot be used; check it with `kubectl config view"):
        await connection.connect(kubeconfig=str(path))


async def test_a_malformed_kubeconfig_does_not_show_its_token(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path, "http://127.0.0.1:1", token="canary")
    document = yaml.safe_load(path.read_text())
    document["users"].append(document["users"][0] | {"name": "other"})
    document["contexts"][0]["context"]["cluster"] = "misspelt"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(NotConfigured) as caught:
        await connection.connect(kubeconfig=str(path))
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


async def test_a_service_account_without_a_token_is_one_sentence(service_account: Path) -> None:
    (service_account / "token").write_text("\n")
    with pytest.raises(NotConfigured, match=r"service account cannot be used: .* is empty"):
        await connection.connect(environ=IN_A_POD, service_account=service_account)


async def test_a_token_that_is_no_text_is_one_sentence(service_account: Path) -> None:
    (service_account / "token").write_bytes(b"canary\xff")
    with pytest.raises(NotConfigured, match="service account cannot be used") as caught:
        await connection.connect(environ=IN_A_POD, service_account=service_account)
    assert "canary" not in str(caught.value)


async def test_a_ca_that_is_no_certificate_is_one_sentence(service_account: Path) -> None:
    (service_account / "ca.crt").write_text("nothing of the kind")
    with pytest.raises(NotConfigured, match="The cluster's CA or the client certificate"):
        await connection.connect(environ=IN_A_POD, service_account=service_account)


async def test_the_connection_is_bounded_and_ignores_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with api_server_stub(tmp_path) as (server, client):
        server.answers = [reply(body={"kind": "It"})]
        response = await client.call_api("GET", f"{client.configuration.host}/version")
        assert response.status == 200
        session = client.rest_client.pool_manager
        assert session.trust_env is False
        assert session.connector.limit == 50


async def test_a_proxy_is_used_when_it_is_given(tmp_path: Path) -> None:
    async with api_server_stub(tmp_path) as (proxy, _):
        proxy.answers = [reply(body={"kind": "It"})]
        kubeconfig = write_kubeconfig(tmp_path, "http://cluster.invalid:8080")
        async with await connection.connect(kubeconfig=str(kubeconfig), proxy=proxy.url) as client:
            response = await client.call_api("GET", f"{client.configuration.host}/version")
            assert response.status == 200
            connected = await kopf_watch.connection_to(client)
    assert proxy.asked[0].headers["host"] == "cluster.invalid:8080"
    assert connected.proxy_url == proxy.url


async def test_kopf_gets_the_same_way_in(service_account: Path) -> None:
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account
    ) as client:
        connected = await kopf_watch.connection_to(client)
    assert isinstance(connected, kopf.ConnectionInfo)
    assert connected.server == "https://10.0.0.1:443"
    assert connected.ca_path == str(service_account / "ca.crt")
    assert connected.as_http_headers() == {"Authorization": "Bearer first-token"}
    assert connected.trust_env is False


async def test_kopf_gets_a_fresh_token_each_time_it_asks(service_account: Path) -> None:
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account, clock=Clock()
    ) as client:
        await kopf_watch.connection_to(client)
        (service_account / "token").write_text("second-token")
        connected = await kopf_watch.connection_to(client)
        assert connected.token == "second-token"
        assert await token_of(client) == "Bearer second-token"


async def test_kopfs_connection_does_not_show_its_token(service_account: Path) -> None:
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account
    ) as client:
        connected = await kopf_watch.connection_to(client)
    assert repr(connected) == "_Connection(server='https://10.0.0.1:443')"
    assert "first-token" not in str(connected)


async def test_certificates_are_checked_but_not_beyond_what_kubectl_checks(
    service_account: Path,
) -> None:
    async with await connection.connect(
        environ=IN_A_POD, service_account=service_account
    ) as client:
        connected = await kopf_watch.connection_to(client)
        for context in (client.rest_client.ssl_context, connected.as_ssl_context()):
            assert context.verify_mode is ssl.CERT_REQUIRED
            assert context.check_hostname
            assert not context.verify_flags & ssl.VERIFY_X509_STRICT


async def test_client_certificates_and_skipped_verification_reach_both_clients(
    tmp_path: Path,
) -> None:
    authority = base64.b64encode(a_certificate().encode()).decode()
    kubeconfig = write_kubeconfig(
        tmp_path, "https://127.0.0.1:1", **{"certificate-authority-data": authority}
    )
    async with await connection.connect(kubeconfig=str(kubeconfig)) as client:
        connected = await kopf_watch.connection_to(client)
        assert connected.ca_path == client.configuration.ssl_ca_cert
        context = connected.as_ssl_context()
        assert len(context.get_ca_certs()) == 1
    kubeconfig = write_kubeconfig(
        tmp_path, "https://127.0.0.1:1", **{"insecure-skip-tls-verify": True}
    )
    async with await connection.connect(kubeconfig=str(kubeconfig)) as client:
        connected = await kopf_watch.connection_to(client)
        assert connected.insecure
        assert connected.as_ssl_context().verify_mode is ssl.CERT_NONE


async def test_of_several_kubeconfigs_the_first_context_counts_as_in_kubectl(
    tmp_path: Path,
) -> None:
    paths = []
    for name in ("first", "second"):
        path = tmp_path / name
        context = {"cluster": name, "user": name}
        path.write_text(
            yaml.safe_dump(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "clusters": [{"name": name, "cluster": {"server": f"https://{name}"}}],
                    "users": [{"name": name, "user": {"token": f"{name}-token"}}],
                    "contexts": [{"name": name, "context": context}],
                    "current-context": name,
                }
            )
        )
        paths.append(str(path))

    async with await connection.connect(kubeconfig=os.pathsep.join(paths), environ={}) as client:
        assert client.configuration.host == "https://first"
        assert await token_of(client) == "Bearer first-token"
