"""The transport's bounds, on real sockets: size, time, names, TLS, proxies, cookies."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tracemalloc
import warnings
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from pydantic import SecretStr

from cse_operator.clock import boottime
from cse_operator.cloud.fairness import Turn
from cse_operator.cloud.proxy import check_no_proxy, is_without_proxy
from cse_operator.cloud.resolver import NameResolver, is_local_address
from cse_operator.cloud.transport import (
    MAX_RESPONSE_BYTES,
    MOST_INTERIM_ANSWERS,
    TransportOptions,
    build_http_client,
)
from cse_operator.core.failure import FailureKind
from support.cloud_calls import ENGINE, ENGINE_ANSWER, FakeTime, fails, make_client
from support.raw_vendor import Act, RawRequest, RawVendor, answer, serving

LOCAL = TransportOptions(allow_local_addresses=True, connect_timeout=5, read_timeout=5)


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    async with build_http_client(LOCAL) as client:
        yield client


async def look(http: httpx.AsyncClient, url: str, **options: float) -> str:
    time = FakeTime()
    client = make_client(http, url, clock=time, sleep=time.sleep, **options)
    return (await client.show_engine(ENGINE)).version


async def test_an_answer_that_is_too_long_is_not_read_to_its_end() -> None:
    options = TransportOptions(allow_local_addresses=True, max_response_bytes=100_000)
    async with build_http_client(options) as http:
        async with RawVendor(lambda _: answer(200, b"x" * 100_001)) as vendor:
            with fails(FailureKind.TRANSIENT) as caught:
                await look(http, vendor.url)
            assert "longer than 100000 bytes" in caught.failure.message
        exactly = answer(200, {**ENGINE_ANSWER, "description": "x" * 99_000})
        async with RawVendor(lambda _: exactly) as vendor:
            assert await look(http, vendor.url) == "2.3.1"


ENTRYPOINT = {
    "masterEntrypoint": "https://192.168.100.100:30100",
    "masterEntrypointIpv6": "https://[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:30100",
    "slaveEntrypoint": "https://192.168.100.101:30100",
    "slaveEntrypointIpv6": "https://[2001:0db8:85a3:0000:0000:8a2e:0370:7334]:30100",
    "type": "HTTPS",
}
LONGEST_ROW = {
    **ENGINE_ANSWER,
    "name": "x" * 64,
    "enterpriseProjectId": ENGINE,
    "enterpriseProjectName": "\u4e2d" * 255,
    "description": "\u4e2d" * 255,
    "type": "MICROGATEWAY",
    "specType": "MicroGateway",
    "flavor": "cse.s1.xlarge2",
    "payment": "1",
    "authType": "RBAC",
    "externalAddress": "192.168.100.100",
    "publicAddress": "100.100.100.100",
    "serviceEndpoint": {"SERVICECENTER": ENTRYPOINT, "KIE": ENTRYPOINT},
    "publicServiceEndpoint": {"SERVICECENTER": ENTRYPOINT, "KIE": ENTRYPOINT},
    "totalInstance": 20000,
    "usedInstance": 19999,
    "availableInstance": 1,
    "createTime": 1635576800332,
    "dueTo": 1635576800332,
    "engineAdditionalActions": ["Noting", "ForceDelete", "Rollback", "Retry"],
    "reference": {
        "vpc": "x" * 64,
        "azList": ["cn-north-4a", "cn-north-4b", "cn-north-4c"],
        "networkId": ENGINE,
        "subnetCidr": "192.168.100.0/24",
        "subnetCidrV6": "2001:0db8:85a3:0000:0000:8a2e:0370:0000/64",
        "subnetGateway": "192.168.100.1",
        "publicIpId": ENGINE,
        "serviceLimit": "20000",
        "instanceLimit": "20000",
        "inputs": {},
    },
}
"""Each engine has all fields of the SDK's EngineSimpleInfo, with the console's longest texts."""


async def test_a_page_of_a_thousand_engines_fits_with_the_longest_of_their_documented_fields(
    http: httpx.AsyncClient,
) -> None:
    rows = [{**LONGEST_ROW, "id": f"{number:032x}"} for number in range(1000)]
    page = json.dumps({"total": 1000, "data": rows}, ensure_ascii=False).encode()
    assert len(page) > 15 * MAX_RESPONSE_BYTES
    async with RawVendor(lambda _: answer(200, page)) as vendor:
        engines = await make_client(http, vendor.url).list_engines()
    assert len(engines) == 1000


@pytest.mark.parametrize(
    ("call", "status", "limit"),
    [
        ("list", 200, 4 * 1024 * 1024),
        ("list", 500, 256 * 1024),
        ("job", 200, 1024 * 1024),
        ("engine", 200, 256 * 1024),
    ],
)
async def test_each_call_has_a_longest_answer_and_an_error_the_shortest(
    http: httpx.AsyncClient, call: str, status: int, limit: int
) -> None:
    endless = answer(status, b" " * (limit + 1), {"Connection": "close"})
    async with RawVendor(lambda _: endless) as vendor:
        time = FakeTime()
        client = make_client(http, vendor.url, clock=time, sleep=time.sleep)
        with fails(FailureKind.TRANSIENT) as caught:
            if call == "list":
                await client.list_engines()
            elif call == "job":
                await client.show_job(ENGINE, 17655)
            else:
                await client.show_engine(ENGINE)
    assert f"longer than {limit} bytes" in caught.failure.message


async def test_an_answer_without_end_is_left_at_the_limit() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await writer.drain()

    options = TransportOptions(allow_local_addresses=True, max_response_bytes=200_000)
    async with serving(endless) as port, build_http_client(options) as http:
        with fails(FailureKind.TRANSIENT) as caught:
            await look(http, f"http://127.0.0.1:{port}")
    assert "longer than" in caught.failure.message


async def test_a_compressed_answer_is_refused_unread(http: httpx.AsyncClient) -> None:
    bomb = answer(200, b"\x1f\x8b" + b"\0" * 100, {"Content-Encoding": "gzip"})
    async with RawVendor(lambda _: bomb) as vendor:
        with fails(FailureKind.TRANSIENT) as caught:
            await look(http, vendor.url)
    assert "compressed" in caught.failure.message
    assert {request.headers["accept-encoding"] for request in vendor.requests} == {"identity"}


async def test_an_answer_that_trickles_is_left_when_its_time_is_over(
    http: httpx.AsyncClient,
) -> None:
    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.01)

    async with serving(trickle) as port:
        with fails(FailureKind.TRANSIENT) as caught:
            await look(http, f"http://127.0.0.1:{port}", request_timeout=0.15)
    assert "no answer within 0.15 s" in caught.failure.message


async def test_a_redirect_is_not_followed(http: httpx.AsyncClient) -> None:
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as elsewhere:
        lure = answer(302, b"", {"Location": f"{elsewhere.url}/v2/x"})
        async with RawVendor(lambda _: lure) as vendor:
            with fails(FailureKind.TRANSIENT) as caught:
                await look(http, vendor.url)
        assert "redirects" in caught.failure.message
        assert elsewhere.requests == []


async def test_no_cookie_is_kept_for_another_call(http: httpx.AsyncClient) -> None:
    cookie = {"Set-Cookie": "session=abc; Path=/"}
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER, cookie)) as vendor:
        await look(http, vendor.url)
        await look(http, vendor.url)
        assert all("cookie" not in request.headers for request in vendor.requests)
    assert len(http.cookies.jar) == 0
    with pytest.raises(AttributeError, match="no cookies"):
        http.cookies = httpx.Cookies({"session": "abc"})


async def test_nothing_is_taken_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login canary password canary\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawVendor(lambda _: answer(503)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as vendor:
            async with build_http_client(LOCAL) as http:
                assert await look(http, vendor.url) == "2.3.1"
            assert "authorization" not in vendor.requests[0].headers
        assert proxy.requests == []


class Tunnel:
    """A proxy that understands CONNECT, and leads each tunnel to one port."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.heads: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
        inside, out = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._copy(reader, out))
                group.create_task(self._copy(inside, writer))
        finally:
            out.transport.abort()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        sink.write_eof()


async def test_a_proxy_comes_by_setting_and_is_told_who_asks(
    certificate: Path, self_signed: ssl.SSLContext
) -> None:
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=self_signed) as vendor:
        tunnel = Tunnel(vendor.port)
        async with serving(tunnel.serve) as port:
            url = SecretStr(f"http://user:canary-pw@127.0.0.1:{port}")
            options = TransportOptions(proxy=url, ca_bundle=certificate)
            assert "canary-pw" not in repr(options)
            async with build_http_client(options) as http:
                assert await look(http, "https://localhost") == "2.3.1"
        [head] = tunnel.heads
        assert head.startswith("CONNECT localhost:443 HTTP/1.1\r\n")
        assert "\r\nproxy-authorization: Basic dXNlcjpjYW5hcnktcHc=\r\n" in head
        assert "proxy-authorization" not in vendor.requests[0].headers
        assert "x-auth-token" not in head.lower()


async def test_hosts_that_need_no_proxy_are_reached_without_it() -> None:
    async with (
        RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as vendor,
        RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as proxy,
    ):
        url = SecretStr(f"http://127.0.0.1:{proxy.port}")
        options = TransportOptions(proxy=url, no_proxy=("localhost",), allow_local_addresses=True)
        async with build_http_client(options) as http:
            for _ in range(2):
                assert await look(http, f"http://localhost:{vendor.port}") == "2.3.1"
                assert await look(http, f"http://127.0.0.1:{vendor.port}") == "2.3.1"
        assert len(vendor.requests) == len(proxy.requests) == 2


async def test_a_host_in_no_proxy_must_not_lead_to_this_machine() -> None:
    options = TransportOptions(proxy=SecretStr("http://proxy.local:3128"), no_proxy=("localhost",))
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as vendor:
        async with build_http_client(options) as http:
            with fails(FailureKind.TRANSIENT) as caught:
                await look(http, f"http://localhost:{vendor.port}")
        assert "loopback or link-local" in caught.failure.message
        assert vendor.connections == 0


@pytest.mark.parametrize(
    ("host", "names", "direct"),
    [
        ("cse.cn-north-4.example.com", ("example.com",), True),
        ("cse.cn-north-4.example.com", (".example.com",), True),
        ("CSE.example.com.", ("cse.EXAMPLE.com",), True),
        ("10.0.0.1", ("10.0.0.1",), True),
        ("fd00::1", ("fd00::1",), True),
        ("badexample.com", ("example.com",), False),
        ("example.com.evil", ("example.com",), False),
        ("example.com", (), False),
    ],
)
def test_a_domain_stands_for_its_hosts_and_for_no_others(
    host: str, names: tuple[str, ...], *, direct: bool
) -> None:
    check_no_proxy(names)
    assert is_without_proxy(host, names) is direct


@pytest.mark.parametrize("name", ["10.0.0.0/8", "*", "*.example.com", "http://a", "a:443", "a b"])
def test_what_would_match_no_host_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="neither a domain nor an address"):
        check_no_proxy((name,))


async def test_a_put_through_a_proxy_that_refuses_the_tunnel_was_not_sent() -> None:
    def refuse(request: RawRequest) -> bytes:
        return answer(407, b"", {"Connection": "close"})

    async with RawVendor(refuse) as proxy:
        url = SecretStr(f"http://user:canary-pw@127.0.0.1:{proxy.port}")
        async with build_http_client(TransportOptions(proxy=url)) as http:
            time = FakeTime()
            client = make_client(http, "https://cse.cn-north-4.example.com", clock=time)
            with fails(FailureKind.NOT_SENT) as caught:
                await client.upgrade(ENGINE, "2.4.0", send_before=time.now + 30)
        assert [request.method for request in proxy.requests] == ["CONNECT"]
        assert "canary-pw" not in repr(caught.error)


async def test_a_certificate_is_verified_against_the_public_authorities(
    http: httpx.AsyncClient, self_signed: ssl.SSLContext
) -> None:
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=self_signed) as vendor:
        with fails(FailureKind.TRANSIENT) as caught:
            await look(http, vendor.url)
        assert vendor.requests == []
    assert "certificate" in caught.failure.message.lower()
    assert "0x" not in caught.failure.message


async def test_a_ca_bundle_replaces_the_public_authorities(
    certificate: Path, self_signed: ssl.SSLContext
) -> None:
    options = TransportOptions(allow_local_addresses=True, ca_bundle=certificate)
    behind = RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=self_signed)
    async with build_http_client(options) as http, behind as vendor:
        assert await look(http, vendor.url) == "2.3.1"


async def test_a_certificate_for_another_name_is_refused(
    certificate: Path, self_signed: ssl.SSLContext
) -> None:
    options = TransportOptions(allow_local_addresses=True, ca_bundle=certificate)
    behind = RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=self_signed)
    async with build_http_client(options) as http, behind as vendor:
        with fails(FailureKind.TRANSIENT):
            await look(http, f"https://127.0.0.2:{vendor.port}")
        assert vendor.requests == []


async def test_tls_below_1_2_is_refused(certificate: Path) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    old.load_cert_chain(certificate)
    old.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        old.minimum_version = ssl.TLSVersion.TLSv1
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    options = TransportOptions(allow_local_addresses=True, ca_bundle=certificate)
    behind = RawVendor(lambda _: answer(200, ENGINE_ANSWER), tls=old)
    async with build_http_client(options) as http, behind as vendor:
        with fails(FailureKind.TRANSIENT):
            await look(http, vendor.url)
        assert vendor.requests == []


@pytest.mark.parametrize("content", [None, "no certificate at all"])
def test_an_unusable_ca_bundle_is_told_at_start(tmp_path: Path, content: str | None) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(OSError):  # noqa: PT011 - an SSLError is one
        build_http_client(TransportOptions(ca_bundle=bundle))


@pytest.mark.parametrize("url", ["http://localhost", "http://vendor.test"])
async def test_a_name_that_leads_to_this_machine_is_not_followed(url: str) -> None:
    def here(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    resolver = NameResolver(look_up=here)
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as vendor:
        async with build_http_client(TransportOptions(), resolver=resolver) as http:
            with fails(FailureKind.TRANSIENT) as caught:
                await look(http, f"{url}:{vendor.port}")
        assert "loopback or link-local" in caught.failure.message
        assert vendor.connections == 0


@pytest.mark.parametrize(
    ("address", "local"),
    [
        *((a, True) for a in ("127.0.0.1", "127.9.9.9", "::1", "169.254.169.254", "fe80::1%eth0")),
        *((a, True) for a in ("0.0.0.0", "::", "224.0.0.1", "::ffff:127.0.0.1", "ff02::1")),
        *((a, True) for a in ("2002:7f00:0001::", "::ffff:169.254.169.254")),
        *((a, True) for a in ("64:ff9b::a9fe:a9fe", "64:ff9b::7f00:1", "fd00:ec2::254")),
        *((a, False) for a in ("64:ff9b::808:808", "64:ff9b::a00:1", "fd00:ec2::253")),
        *((a, False) for a in ("10.0.0.1", "192.168.1.1", "100.125.1.1", "8.8.8.8", "fd00::1")),
    ],
)
def test_local_addresses_are_told_from_others(address: str, local: bool) -> None:
    assert is_local_address(address) is local


EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"


async def test_an_answer_may_be_announced_a_few_times(http: httpx.AsyncClient) -> None:
    announced = EARLY_HINTS * (MOST_INTERIM_ANSWERS - 1) + answer(200, ENGINE_ANSWER)
    async with RawVendor(lambda _: announced) as vendor:
        for _ in range(3):
            assert await look(http, vendor.url) == "2.3.1"
        assert vendor.connections == 1


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_announcements_without_end_take_no_memory_and_end_the_call(
    http: httpx.AsyncClient, method: str
) -> None:
    requests: list[bytes] = []

    async def announce_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        requests.append(await reader.readuntil(b"\r\n\r\n"))
        with suppress(ConnectionError):
            while True:
                writer.write(EARLY_HINTS * 1000)
                await writer.drain()

    tracemalloc.start()
    try:
        async with asyncio.timeout(30), serving(announce_for_ever) as port:
            client = make_client(http, f"http://127.0.0.1:{port}", request_timeout=25.0)
            if method == "GET":
                with fails(FailureKind.TRANSIENT) as caught:
                    await client.show_engine(ENGINE)
            else:
                with fails(FailureKind.OUTCOME_UNKNOWN) as caught:
                    await client.upgrade(ENGINE, "2.4.0", send_before=boottime() + 20)
        assert "interim answers" in caught.failure.message
        assert len([one for one in requests if one.startswith(b"PUT")]) == (method == "PUT")
        assert tracemalloc.get_traced_memory()[1] < 8 * 1024 * 1024
    finally:
        tracemalloc.stop()


async def test_no_more_calls_are_in_flight_than_there_are_connections() -> None:
    options = TransportOptions(connections=12, allow_local_addresses=True)
    async with RawVendor(lambda _: Act.HANG) as vendor, build_http_client(options) as http:
        client = make_client(http, vendor.url)
        client._exchange._auth.breaker.accepted()
        calls = [asyncio.create_task(client.show_engine(ENGINE)) for _ in range(10)]
        while len(vendor.requests) < 3:
            vendor.received.clear()
            await vendor.received.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert (len(vendor.requests), vendor.connections) == (3, 3)
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_a_namespace_whose_projects_all_hang_leaves_connections_to_another() -> None:
    def hang_if_crowded(request: RawRequest) -> bytes | Act:
        return Act.HANG if "/crowd" in request.target else answer(200, ENGINE_ANSWER)

    options = TransportOptions(connections=16, allow_local_addresses=True)
    async with RawVendor(hang_if_crowded) as vendor, build_http_client(options) as http:
        crowd = [
            make_client(http, vendor.url, project_id=f"crowd-{number}") for number in range(50)
        ]
        crowded, quiet = Turn(namespace="crowded"), Turn(namespace="quiet")
        calls = [asyncio.create_task(one.show_engine(ENGINE, turn=crowded)) for one in crowd]
        async with asyncio.timeout(10):
            await vendor.received.wait()
            view = await make_client(http, vendor.url).show_engine(ENGINE, turn=quiet)
        assert view.version == "2.3.1"
        assert len(vendor.requests) <= 8 + 1
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)


async def test_a_connection_is_reused(http: httpx.AsyncClient) -> None:
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as vendor:
        for _ in range(5):
            await look(http, vendor.url)
        assert vendor.connections == 1


async def test_the_path_arrives_as_it_was_meant(http: httpx.AsyncClient) -> None:
    async with RawVendor(lambda _: answer(200, ENGINE_ANSWER)) as vendor:
        await look(http, vendor.url)
        assert vendor.requests[0].target == (
            f"/v2/0a1b2c3d4e5f60718293a4b5c6d7e8f9/enginemgr/engines/{ENGINE}"
        )
