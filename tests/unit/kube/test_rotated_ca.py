"""After a rotation of the cluster's CA, both clients continue without a restart."""

from __future__ import annotations

import base64
import logging
import shlex
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
import yaml
from aiohttp import web

from cse_operator.kube import connection, kopf_watch
from cse_operator.kube.api_call import call
from cse_operator.kube.errors import Unavailable
from cse_operator.kube.roots import PERIOD
from support.api_server_stub import OBJECT, write_kubeconfig


class Clock:
    """A clock that moves only when the test says so."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def api_server(authority: trustme.CA) -> AsyncIterator[int]:
    """An API server with a certificate from this authority, which answers all with one object."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response(OBJECT)

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    app = web.Application()
    app.router.add_get("/version", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("credentials", ["token", "certificate"])
async def test_both_clients_take_the_new_ca_from_its_file(tmp_path: Path, credentials: str) -> None:
    old, new, clock, file = trustme.CA(), trustme.CA(), Clock(), tmp_path / "ca.crt"
    old.cert_pem.write_to_path(file)
    kubeconfig = write_kubeconfig(
        tmp_path, "https://127.0.0.1:1", **{"certificate-authority": str(file)}
    )
    if credentials == "certificate":
        kubeconfig.write_text(kubeconfig.read_text().replace("token: token-of-the-test", "{}"))
    async with await connection.connect(kubeconfig=str(kubeconfig), clock=clock) as client:
        kopfs = (await kopf_watch.connection_to(client)).as_ssl_context()
        async with api_server(new) as port:
            client.configuration.host = f"https://127.0.0.1:{port}"
            new.cert_pem.write_to_path(file, append=True)
            with pytest.raises(Unavailable, match="certificate"):
                await call(client, "GET", "/version", names={})
            clock.now += PERIOD
            assert await call(client, "GET", "/version", names={}) == OBJECT
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"{client.configuration.host}/version", ssl=kopfs) as answer,
            ):
                assert answer.status == 200


async def test_a_ca_that_cannot_be_read_again_stays_in_use(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority, clock, file = trustme.CA(), Clock(), tmp_path / "ca.crt"
    authority.cert_pem.write_to_path(file)
    kubeconfig = write_kubeconfig(
        tmp_path, "https://127.0.0.1:1", **{"certificate-authority": str(file)}
    )
    async with await connection.connect(kubeconfig=str(kubeconfig), clock=clock) as client:
        file.write_text("half of a certifi")
        clock.now += PERIOD
        async with api_server(authority) as port:
            client.configuration.host = f"https://127.0.0.1:{port}"
            with caplog.at_level(logging.WARNING, logger="cse_operator.kube.roots"):
                assert await call(client, "GET", "/version", names={}) == OBJECT
            assert f"The cluster's CA in {file} could not be read again" in caplog.text


CONNECTS = """
import asyncio, sys, tempfile
from cse_operator.kube import connection

async def main():
    async with await connection.connect(kubeconfig=sys.argv[1]) as client:
        print(client.configuration.cert_file, client.configuration.ssl_ca_cert)

asyncio.run(main())
"""


def test_a_kubeconfig_with_inline_certificates_works_on_a_read_only_root(tmp_path: Path) -> None:
    read_only = ["unshare", "--map-root-user", "--mount", "sh", "-c"]
    remount = "mount -o remount,ro,bind / && "
    if subprocess.run([*read_only, f"{remount} true"], capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody make a file system of their own")
    authority = trustme.CA()
    issued = authority.issue_cert("someone")
    kubeconfig = write_kubeconfig(
        tmp_path,
        "https://127.0.0.1:1",
        **{"certificate-authority-data": _encoded(authority.cert_pem)},
    )
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"] = {
        "client-certificate-data": _encoded(issued.cert_chain_pems[0]),
        "client-key-data": _encoded(issued.private_key_pem),
    }
    kubeconfig.write_text(yaml.safe_dump(document))
    command = shlex.join([sys.executable, "-c", CONNECTS, str(kubeconfig)])
    ended = subprocess.run(
        [*read_only, f"{remount} exec {command}"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr
    files = ended.stdout.split()
    assert all(file.startswith("/dev/shm/") for file in files), ended.stdout
    assert not any(Path(file).exists() for file in files), "the process left its key behind"


def _encoded(blob: trustme.Blob) -> str:
    return base64.b64encode(blob.bytes()).decode()
