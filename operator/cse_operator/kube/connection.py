"""The connection to the cluster: one source of credentials for the official client and the watch.

If the source is a file that changes (a projected service account token) or a program (an exec
plug-in of a kubeconfig), both clients see the change.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final

import aiohttp
import yaml
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.config import ConfigException, load_kube_config
from kubernetes.aio.config.incluster_config import InClusterConfigLoader

from cse_operator.kube.errors import NotConfigured
from cse_operator.kube.roots import Roots

logger = logging.getLogger(__name__)

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""The folder with a Pod's token and the cluster's CA."""

CONNECTIONS: Final = 50
"""The most connections to the API server. Its priority and fairness gives one service account
about 245 seats, so with 50 the operator never crowds out other clients."""

_TOKEN: Final = "BearerToken"  # noqa: S105  (the client's name for the slot, not a token)

_SERVICE_ACCOUNT_PERIOD: Final = 60.0
"""Seconds between looks at the token file. The kubelet renews the token when a fifth of its life
is left (at least two minutes)."""

_KUBECONFIG_PERIOD: Final = 300.0
"""Seconds between looks at the kubeconfig, which may run a program. Even the shortest-lived tokens
in use (a quarter of an hour) live longer."""

_SHARED_MEMORY: Final = "/dev/shm"  # noqa: S108 - files of 0600 in memory, gone with the Pod

_DEFAULT_KUBECONFIG: Final = "~/.kube/config"

# The errors that the official loader raises for a malformed kubeconfig.
_MALFORMED: Final = (
    ConfigException,
    yaml.YAMLError,
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
)


class _RenewedToken:
    """Keeps the token in a configuration fresh; the client calls this before each request."""

    def __init__(
        self,
        load: Callable[[], Awaitable[str | None]],
        period: float,
        clock: Callable[[], float],
    ) -> None:
        self._load = load
        self._period = period
        self._clock = clock
        self._due = clock() + period
        self._lock = asyncio.Lock()

    async def __call__(self, configuration: Configuration) -> None:
        """Renew the token in the configuration, if it is due."""
        if self._clock() < self._due or self._lock.locked():
            return
        await self.renew(configuration)

    async def renew(self, configuration: Configuration) -> None:
        """Read the token again now. If that yields no token, the old one stays."""
        async with self._lock:
            try:
                token = await self._load()
            except _MALFORMED as error:
                # Do not log the error's text: a parser may quote the offending line.
                logger.warning(
                    "The cluster's credentials could not be read again (%s); "
                    "the old ones stay in use.",
                    type(error).__name__,
                )
                token = None
            self._due = self._clock() + self._period
            if token:
                configuration.api_key[_TOKEN] = token


async def connect(
    *,
    kubeconfig: str | None = None,
    proxy: str | None = None,
    connections: int = CONNECTIONS,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    clock: Callable[[], float] = time.monotonic,
) -> ApiClient:
    """Prepare a connection to the cluster, with kubectl's order of sources.

    A named kubeconfig (by argument or `KUBECONFIG`) wins, then the Pod's service account, then
    `~/.kube/config`. So a test or a demo that runs in a Pod and names another cluster never
    reaches the cluster it runs in.

    This function sends no request. It ignores environment variables for proxies: a proxy comes
    from the argument or the kubeconfig.

    Args:
        kubeconfig: Path of a kubeconfig, or several as in `KUBECONFIG`.
        proxy: URL of an HTTP proxy to the API server.
        connections: The maximum number of open connections.
        environ: The environment to read `KUBECONFIG` and the service's address from.
        service_account: The folder with the Pod's token and CA.
        clock: Seconds on the clock that tells when to read the token again.

    Returns:
        The connection. The caller closes it (`await client.close()`).

    Raises:
        NotConfigured: There are no credentials, or they cannot be read; the message says which.
    """
    configuration = Configuration()
    paths = kubeconfig or environ.get("KUBECONFIG")
    if paths:
        await _use_kubeconfig(configuration, paths, clock)
    elif (service_account / "token").exists() and environ.get("KUBERNETES_SERVICE_HOST"):
        _use_service_account(configuration, service_account, environ, clock)
    else:
        await _use_kubeconfig(configuration, _DEFAULT_KUBECONFIG, clock)
    if proxy:
        configuration.proxy = proxy
    configuration.connection_pool_maxsize = connections
    configuration.client_session_kwargs = {
        "trust_env": False,
        "cookie_jar": aiohttp.DummyCookieJar(),
    }
    # Python 3.13 checks more than the chain, the dates and the name, so it rejects clusters whose
    # CA has no key identifier (such as EKS until 1.16). Without these extra checks, the operator
    # checks the same as with Python 3.12 and as kubectl.
    configuration.disable_strict_ssl_verification = True
    try:
        api_client = ApiClient(configuration)
    except OSError as error:
        raise NotConfigured(f"The cluster's CA or the client certificate: {error}") from error
    api_client.roots = Roots(configuration.ssl_ca_cert, clock)
    api_client.roots.keep_fresh(api_client.rest_client.ssl_context)
    api_client.user_agent = f"cse-operator/{version('cse-operator')}"
    return api_client


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Credentials:
    """The connection data for a client other than the official one; the repr shows no token."""

    server: str
    ca_path: str | None
    insecure: bool
    scheme: str | None
    token: str | None
    certificate_path: str | None
    private_key_path: str | None
    proxy_url: str | None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(server={self.server!r})"


async def current_credentials(api_client: ApiClient) -> Credentials:
    """Return the current connection data, after reading the token again."""
    configuration = api_client.configuration
    if isinstance(configuration.refresh_api_key_hook, _RenewedToken):
        await configuration.refresh_api_key_hook.renew(configuration)
    header: str = configuration.api_key.get(_TOKEN) or ""
    scheme, _, token = header.partition(" ")
    return Credentials(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        insecure=not configuration.verify_ssl,
        scheme=scheme or None,
        token=token or None,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        proxy_url=configuration.proxy,
    )


def roots_of(api_client: ApiClient) -> Roots:
    """Return the cluster's CA of a connection from `connect`."""
    roots: Roots = api_client.roots
    return roots


def _use_service_account(
    configuration: Configuration,
    folder: Path,
    environ: Mapping[str, str],
    clock: Callable[[], float],
) -> None:
    token_file = folder / "token"
    loader = InClusterConfigLoader(
        token_filename=str(token_file),
        cert_filename=str(folder / "ca.crt"),
        try_refresh_token=False,
        environ=environ,
    )
    try:
        loader.load_and_set(configuration)
        configuration.api_key[_TOKEN] = _bearer(token_file)
    except (ConfigException, OSError, ValueError) as error:
        raise NotConfigured(f"The Pod's service account cannot be used: {error}") from None

    async def load() -> str | None:
        return _bearer(token_file)

    configuration.refresh_api_key_hook = _RenewedToken(load, _SERVICE_ACCOUNT_PERIOD, clock)


def _bearer(token_file: Path) -> str:
    token = token_file.read_text(encoding="ascii").strip()
    if not token:
        raise ConfigException(f"{token_file} is empty")
    return f"Bearer {token}"


async def _use_kubeconfig(
    configuration: Configuration, paths: str, clock: Callable[[], float]
) -> None:
    if not _exists(paths):
        raise NotConfigured(
            f"There is no cluster to talk to: {paths} does not exist, and this is not a Pod with a "
            "service account. Set KUBECONFIG."
        )
    _find_a_place_for_certificates()
    with contextlib.suppress(*_MALFORMED):
        await load_kube_config(
            config_file=paths,
            context=_current_context(paths),
            client_configuration=configuration,
            persist_config=False,
        )
        _renew_from_kubeconfig(configuration, paths, clock)
        return
    # Raised without its cause: a parser quotes the offending line, which may hold a token.
    raise NotConfigured(
        f"The kubeconfig {paths} cannot be used; check it with `kubectl config view --minify`"
    )


def _find_a_place_for_certificates() -> None:
    """Use shared memory for temporary files if there is no writable temporary folder.

    The official loader writes a kubeconfig's inline certificates to temporary files, because
    OpenSSL reads only files. With a read-only root there may be no folder for them.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        if os.access(_SHARED_MEMORY, os.W_OK):
            tempfile.tempdir = _SHARED_MEMORY


def _renew_from_kubeconfig(
    configuration: Configuration, paths: str, clock: Callable[[], float]
) -> None:
    if configuration.api_key.get(_TOKEN) is None:
        return

    async def load() -> str | None:
        fresh = Configuration()
        await load_kube_config(
            config_file=paths,
            context=_current_context(paths),
            client_configuration=fresh,
            persist_config=False,
        )
        token: str | None = fresh.api_key.get(_TOKEN)
        return token

    configuration.refresh_api_key_hook = _RenewedToken(load, _KUBECONFIG_PERIOD, clock)


def _current_context(paths: str) -> str | None:
    """Return the current context of the first kubeconfig that names one, as kubectl does.

    The official loader takes that of the last kubeconfig, which may be another cluster.
    """
    for path in paths.split(os.pathsep):
        file = Path(path).expanduser()
        if not path or not file.exists():
            continue
        context = (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("current-context")
        if context:
            return str(context)
    return None


def _exists(paths: str) -> bool:
    return any(path and Path(path).expanduser().exists() for path in paths.split(os.pathsep))
