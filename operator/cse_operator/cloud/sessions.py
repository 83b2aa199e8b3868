"""The projects in use, with one client for each.

Resources share a project if their endpoint, project, enterprise project and Secret are the same. A
changed Secret makes a new project; the old one ends when its last resource leaves it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from cse_operator.clock import boottime
from cse_operator.cloud.auth.breaker import CredentialBreaker, RefusalBudget
from cse_operator.cloud.auth.credentials import Credentials, PasswordToken
from cse_operator.cloud.auth.flows import CloudAuth
from cse_operator.cloud.auth.identities import (
    KeylessIdentity,
    Places,
    PodIdentity,
    ServiceAccountIdentity,
)
from cse_operator.cloud.auth.keyless import KeylessAuth
from cse_operator.cloud.auth.kinds import auth_for
from cse_operator.cloud.auth.sessions import IdentitySession, Terms
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.exchange import Exchange
from cse_operator.cloud.keeping import Keeper
from cse_operator.cloud.ratelimit import ProjectLimits, RateLimit
from cse_operator.cloud.reader import CseReader
from cse_operator.cloud.transport import (
    SendOnceClient,
    TransportOptions,
    build_http_client,
    build_resolver,
)
from cse_operator.cloud.trust import Trust

ProjectKey = tuple[str, str, str | None, str]
"""Endpoint, project, enterprise project, and the credential: its fingerprint and its Secret's
version."""

_NODE = "the node's agent"
"""Stands for an endpoint: a Pod gets its key from an agent on its node, without a proxy."""


@dataclass(frozen=True, slots=True)
class SessionOptions:
    """The settings that all projects share; times in seconds."""

    endpoints: EndpointPolicy
    transport: TransportOptions
    calls_per_second: float
    credentials_cooldown: float
    request_timeout: float
    call_takes: float = 60.0
    """The longest time from the decision to call until the vendor has checked its credentials."""
    clock: Callable[[], float] = boottime
    """The clock for the deadlines of changing calls; it reads infinity when the operator stops."""


@dataclass(slots=True)
class ProjectSession:
    """One project accessed with one credential."""

    key: ProjectKey
    client: CseClient
    auth: CloudAuth
    users: set[str] = field(default_factory=set)
    """The resources that use the project."""


class ProjectSessions:
    """Makes projects when a resource needs them and ends them when no resource uses them."""

    def __init__(self, options: SessionOptions, on_call: Callable[[str, str, float], None]) -> None:
        """Make an empty set of projects.

        Args:
            options: The settings that all projects share.
            on_call: Called at the end of each call to the vendor, see `OnCall`.

        Raises:
            OSError: The CA bundle cannot be read (`ssl.SSLError` if it holds no certificate).
        """
        self._options = options
        self._trust = Trust(options.transport.ca_bundle)
        self._resolver = build_resolver(options.transport)
        self._on_call = on_call
        self._projects: dict[ProjectKey, ProjectSession] = {}
        self._project_of: dict[str, ProjectSession] = {}
        self._http: dict[str, SendOnceClient] = {}
        self._closing: dict[asyncio.Task[None], SendOnceClient] = {}
        self._limits = Keeper[ProjectLimits]()
        self._ended_tokens = 0
        self._traded_keys = 0
        self._trades: set[asyncio.Task[None]] = set()
        self._sessions = Keeper[IdentitySession]()
        self._paused = 0.0
        self._budgets = Keeper[RefusalBudget]()
        self._breakers = Keeper[CredentialBreaker]()

    def __iter__(self) -> Iterator[ProjectSession]:
        return iter(list(self._projects.values()))

    def attach(
        self,
        resource: str,
        *,
        region: str,
        project_id: str,
        enterprise_project_id: str | None,
        credentials: Credentials | KeylessIdentity,
        secret_version: str = "",
        following: bool = False,
    ) -> ProjectSession:
        """Return the project of a resource, making it if needed, and count the resource as a user.

        Refused credentials are tried again as soon as `secret_version` (the Secret's uid and
        `resourceVersion`) changes. With `following`, the region need not be allowed.

        Raises:
            CloudError: The region is not allowed, or an id is malformed.
        """
        endpoint = self._options.endpoints.cse(region, following=following)
        secret = f"{credentials.fingerprint}/{secret_version}"
        key = (endpoint, project_id, enterprise_project_id, secret)
        known = self._project_of.get(resource)
        if known is not None and known.key == key:
            return known
        self.detach(resource)
        project = self._projects.get(key)
        if project is None:
            project = self._make(key, region, credentials)
            self._projects[key] = project
        project.users.add(resource)
        self._project_of[resource] = project
        return project

    def reader(
        self,
        *,
        region: str,
        project_id: str,
        enterprise_project_id: str | None,
        credentials: Credentials,
    ) -> CseReader:
        """Return a read-only client, for command-line use. It counts as no resource's project.

        Raises:
            CloudError: The region is not allowed, or an id is malformed.
        """
        endpoint = self._options.endpoints.cse(region)
        key = (endpoint, project_id, enterprise_project_id, f"{credentials.fingerprint}/")
        auth = self._auth(key, region, credentials)
        return CseReader(self._exchange(key, auth), clock=self._options.clock)

    def detach(self, resource: str) -> None:
        """Remove the resource from its project; end the project if this was the last user."""
        project = self._project_of.pop(resource, None)
        if project is None:
            return
        project.users.discard(resource)
        if not project.users:
            del self._projects[project.key]
            self._end(project)

    def _end(self, project: ProjectSession) -> None:
        left = list(self._projects.values())
        self._ended_tokens += project.auth.tokens_obtained
        endpoint = project.key[0]
        if all(other.key[0] != endpoint for other in left):
            # Close unused clients: resources that name ever new regions must not fill the memory.
            http = self._http.pop(endpoint)
            closing = asyncio.create_task(http.close_when_idle(), name="close a client")
            self._closing[closing] = http
            closing.add_done_callback(self._closing.pop)

    @property
    def tokens_obtained(self) -> int:
        """Return how many tokens and temporary keys all projects got since the start."""
        obtained = self._ended_tokens + self._traded_keys
        return obtained + sum(p.auth.tokens_obtained for p in self._projects.values())

    @property
    def throttled_seconds(self) -> float:
        """Return the seconds of pause that the vendor asked for, over all projects since start."""
        return self._paused

    async def close(self) -> None:
        """Close all connections."""
        clients = [*self._closing.values(), *self._http.values()]
        tasks = [*self._closing, *self._trades]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for http in clients:
            await http.aclose()

    def _make(
        self, key: ProjectKey, region: str, credentials: Credentials | KeylessIdentity
    ) -> ProjectSession:
        auth = self._auth(key, region, credentials)
        client = CseClient(self._exchange(key, auth), clock=self._options.clock)
        return ProjectSession(key, client, auth)

    def _exchange(self, key: ProjectKey, auth: CloudAuth) -> Exchange:
        endpoint, project_id, enterprise_project_id, _ = key
        return Exchange(
            self._http_for(endpoint),
            endpoint,
            project_id,
            enterprise_project_id=enterprise_project_id,
            auth=auth,
            # The vendor applies one limit per project, over all enterprise projects and callers.
            limits=self._limits.get((endpoint, project_id), self._make_limits),
            request_timeout=self._options.request_timeout,
            on_call=self._on_call,
        )

    def _make_limits(self) -> ProjectLimits:
        rate = self._options.calls_per_second
        return ProjectLimits(lambda: RateLimit(rate), self._note_pause)

    def _note_pause(self, seconds: float) -> None:
        self._paused += seconds

    def _auth(
        self, key: ProjectKey, region: str, credentials: Credentials | KeylessIdentity
    ) -> CloudAuth:
        """Return the authentication for one project's calls."""
        if isinstance(credentials, KeylessIdentity):
            return self._keyless_auth(key, region, credentials)
        # `attach` has already checked that the region is allowed.
        iam_endpoint = self._options.endpoints.iam(region, following=True)
        endpoint, project_id, _, secret = key
        budget = self._budgets.get(credentials.identity, RefusalBudget)
        # IAM distinguishes a wrong password from a wrong project. The gateway may refuse a good
        # access key or token because of a wrong project; that must block only that project.
        password = isinstance(credentials, PasswordToken)
        breaker = self._breakers.get(
            (secret, iam_endpoint) if password else (secret, endpoint, project_id),
            lambda: CredentialBreaker(
                credentials.fingerprint, budget, cooling=self._options.credentials_cooldown
            ),
        )
        return auth_for(credentials, breaker, project_id=project_id, iam_endpoint=iam_endpoint)

    def _keyless_auth(self, key: ProjectKey, region: str, identity: KeylessIdentity) -> CloudAuth:
        """Share one session per identity and region, and one breaker per project."""
        endpoints, (endpoint, project_id, _, name) = self._options.endpoints, key
        by_agency = isinstance(identity, ServiceAccountIdentity) and identity.by_agency
        places = Places(
            iam=endpoints.iam(region, following=True),
            sts=endpoints.sts(region, following=True) if by_agency else "",
        )
        session = self._sessions.get(
            (name, places),
            lambda: IdentitySession(identity, places, self._identity_breaker(), self._terms()),
        )
        breaker = self._breakers.get((name, endpoint, project_id), self._identity_breaker)
        http = self._http_for(_NODE if isinstance(identity, PodIdentity) else endpoint)
        return KeylessAuth(session, http, project_id, breaker)

    def _identity_breaker(self) -> CredentialBreaker:
        """Make a breaker without a shared budget: the vendor locks no temporary key or token."""
        return CredentialBreaker(
            cooling=self._options.credentials_cooldown, mended_by="spec.credentialsRef changes"
        )

    def _terms(self) -> Terms:
        options = self._options
        return Terms(
            call_takes=options.call_takes,
            request_timeout=options.request_timeout,
            on_trade=self._note_trade,
            under_way=self._trades,
        )

    def _note_trade(self) -> None:
        self._traded_keys += 1

    def _http_for(self, endpoint: str) -> SendOnceClient:
        if endpoint not in self._http:
            options, resolver = self._options.transport, self._resolver
            if endpoint == _NODE:
                options = replace(options, proxy=None, allow_local_addresses=True)
                resolver = build_resolver(options)
            self._http[endpoint] = build_http_client(options, self._trust, resolver)
        return self._http[endpoint]
