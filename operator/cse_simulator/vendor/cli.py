"""The simulator's command line: `python -m cse_simulator`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import ssl
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from aiohttp import web

from cse_simulator.vendor import seeds, wire
from cse_simulator.vendor.admin_api import ADMIN_PREFIX
from cse_simulator.vendor.engines import DEFAULT_PROJECT, ENGINE_TYPES
from cse_simulator.vendor.faults import Fault
from cse_simulator.vendor.server import Simulator
from cse_simulator.vendor.settings import Settings
from cse_simulator.vendor.world import AGE_AT_START_SECONDS, UnknownNameError

_BACKLOG = 4096
"""Length of the kernel's accept queue; a burst of a thousand connections must not be refused."""
_SHUTDOWN_SECONDS = 1.0
_STDIN_CHUNK = 4096


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        simulator = _simulator(options)
    except (OSError, ValueError, UnknownNameError) as wrong:
        sys.stderr.write(f"cse-simulator: {wrong}\n")
        return 2
    try:
        run(_serve(simulator, options))
    except OSError as wrong:
        sys.stderr.write(f"cse-simulator: {wrong}\n")
        return 2
    return 0


def run(coroutine: Any) -> None:
    """Run a coroutine on uvloop, except on Windows."""
    if sys.platform == "win32":
        asyncio.run(coroutine)
    else:
        import uvloop  # noqa: PLC0415 - not available on Windows

        uvloop.run(coroutine)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cse_simulator",
        description="A stand-in for the Huawei Cloud CSE API, with faults on demand.",
    )
    serve = parser.add_subparsers(dest="command", required=True).add_parser(
        "serve",
        help="serve the simulated API until SIGTERM",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    _add_server_options(serve)
    _add_world_options(serve)
    _add_credential_options(serve)
    behaviour = serve.add_argument_group("behaviour (most can be changed while it runs)")
    for name, hint in get_type_hints(Settings).items():
        _add_setting(behaviour, name, hint)
    return parser


def _add_server_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on, 0 for a free one")
    parser.add_argument("--tls-certificate", type=Path, help="PEM file: serve HTTPS with it")
    parser.add_argument("--tls-key", type=Path, help="PEM file with the certificate's key")
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="exit when standard input closes, which happens when the parent process ends",
    )


def _add_world_options(parser: argparse.ArgumentParser) -> None:
    world = parser.add_argument_group("the world at the start")
    world.add_argument("--seed", type=Path, help="YAML file with engines, faults and job plans")
    world.add_argument("--engines", type=int, default=0, help="number of engines to generate")
    world.add_argument("--project", default=DEFAULT_PROJECT, help="project of generated engines")
    world.add_argument("--prefix", default="engine", help="name prefix of generated engines")
    world.add_argument(
        "--type", choices=sorted(ENGINE_TYPES), default="CSE", help="type of generated engines"
    )
    world.add_argument("--version", default="", help="version of generated engines")
    world.add_argument("--latest", default="", help="latest version of generated engines")
    world.add_argument(
        "--fault", action="append", default=[], metavar="JSON", help="a fault rule, repeatable"
    )


def _add_credential_options(parser: argparse.ArgumentParser) -> None:
    credentials = parser.add_argument_group("credentials (without any, all are accepted)")
    credentials.add_argument(
        "--token", action="append", default=[], metavar="TOKEN[@PROJECT]", help="repeatable"
    )
    credentials.add_argument(
        "--user", action="append", default=[], metavar="NAME:PASSWORD:DOMAIN", help="repeatable"
    )
    credentials.add_argument(
        "--access-key",
        action="append",
        default=[],
        metavar="AK:SK[:SECURITY_TOKEN]",
        help="repeatable",
    )


def _add_setting(group: argparse._ArgumentGroup, name: str, hint: Any) -> None:
    field = next(one for one in fields(Settings) if one.name == name)
    if "help" not in field.metadata:
        return
    flag, explanation = "--" + name.replace("_", "-"), field.metadata["help"]
    if hint is bool:
        group.add_argument(
            flag, action=argparse.BooleanOptionalAction, default=field.default, help=explanation
        )
    else:
        choices = get_args(hint) or None
        kind = str if choices else hint
        group.add_argument(
            flag, type=kind, choices=choices, default=field.default, help=explanation
        )


def _simulator(options: argparse.Namespace) -> Simulator:
    chosen = {
        field.name: getattr(options, field.name)
        for field in fields(Settings)
        if "help" in field.metadata
    }
    simulator = Simulator(Settings(**chosen, **_credentials(options)))
    seed = seeds.load(options.seed) if options.seed else seeds.Seed()
    generated = seeds.Generation(
        count=options.engines,
        prefix=options.prefix,
        project=options.project,
        type=options.type,
        version=options.version,
        latest_version=options.latest,
    )
    simulator.world.add_engines(
        [*seed.engines, *generated.descriptions()], age_seconds=AGE_AT_START_SECONDS
    )
    for engine_id, plan in seed.plans:
        try:
            simulator.upgrades.plan_jobs(engine_id, plan)
        except UnknownNameError as unknown:
            way_out = f'give an engine of this file "id: {engine_id}"'
            raise UnknownNameError(f"plans: {unknown}: {way_out}") from None
    for fault in [*seed.faults, *(wire.read(Fault, json.loads(one)) for one in options.fault)]:
        simulator.faults.add(fault)
    return simulator


def _credentials(options: argparse.Namespace) -> dict[str, Any]:
    users = []
    for one in options.user:
        name, password, domain = _split(one, "--user", 3)
        users.append({"name": name, "password": password, "domain": domain})
    keys, security_tokens = {}, {}
    for one in options.access_key:
        key, secret, security_token = _split(
            f"{one}:" if one.count(":") == 1 else one, "--access-key", 3
        )
        keys[key] = secret
        if security_token:
            security_tokens[key] = security_token
    return {
        "tokens": dict(one.partition("@")[::2] for one in options.token),
        "users": users,
        "access_keys": keys,
        "security_tokens": security_tokens,
    }


def _split(text: str, flag: str, count: int) -> list[str]:
    parts = text.split(":", count - 1)
    if len(parts) != count:
        raise ValueError(f"{flag} needs {count} parts, separated by colons")
    return parts


async def _serve(simulator: Simulator, options: argparse.Namespace) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if options.exit_with_stdin:
        loop.add_reader(sys.stdin.fileno(), _until_closed, loop, stopped)
    runner = web.ServerRunner(
        web.Server(simulator.handle, access_log=None), shutdown_timeout=_SHUTDOWN_SECONDS
    )
    await runner.setup()
    try:
        context = _tls(options)
        await web.TCPSite(
            runner, options.host, options.port, ssl_context=context, backlog=_BACKLOG
        ).start()
        port = runner.addresses[0][1]
        host = f"[{options.host}]" if ":" in options.host else options.host
        url = f"{'https' if context else 'http'}://{host}:{port}"
        announcement = json.dumps({"url": url, "admin": url + ADMIN_PREFIX.rstrip("/")})
        sys.stdout.write(announcement + "\n")
        sys.stdout.flush()
        await stopped.wait()
    finally:
        simulator.stop()
        await runner.cleanup()


def _until_closed(loop: asyncio.AbstractEventLoop, stopped: asyncio.Event) -> None:
    if not os.read(sys.stdin.fileno(), _STDIN_CHUNK):
        loop.remove_reader(sys.stdin.fileno())
        stopped.set()


def _tls(options: argparse.Namespace) -> ssl.SSLContext | None:
    if options.tls_certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(options.tls_certificate, options.tls_key)
    return context
