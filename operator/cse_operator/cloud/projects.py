"""The projects that are worked with: one client for each.

Resources share a project when endpoint, project, enterprise project and the credential's
values are the same, whatever namespaces and Secrets they come from. A rotated Secret is a
new credential, and so leads to a new project; the old one ends when nobody uses it any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from cse_operator.cloud.auth import CloudAuth, auth_for
from cse_operator.cloud.client import CseClient
from cse_operator.cloud.clock import boottime
from cse_operator.cloud.credentials import Credentials, StaticToken
from cse_operator.cloud.endpoints import EndpointPolicy
from cse_operator.cloud.gate import AuthenticationGate
from cse_operator.cloud.ratelimit import TokenBucket
from cse_operator.cloud.refusals import RefusalBudget
from cse_operator.cloud.transport import (
    FencedClient,
    TransportOptions,
    build_http_client,
    tls_context,
)

MOST_KEPT: Final = 4096
"""Gates, and rate limits, that are kept although no project may need them any more."""

ProjectKey = tuple[str, str, str | None, str]
"""Endpoint, project, enterprise project, fingerprint of the credential."""


@dataclass(frozen=True, slots=True)
class ProjectOptions:
    """What all projects have in common; times in seconds."""

    endpoints: EndpointPolicy
    transport: TransportOptions
    calls_per_second: float
    credentials_cooldown: float
    request_timeout: float
    clock: Callable[[], float] = boottime
    """What the deadlines of changing calls are readings of; it stands at infinity at a stop."""


@dataclass(slots=True)
class Project:
    """One project as one credential sees it."""

    key: ProjectKey
    client: CseClient
    auth: CloudAuth
    bucket: TokenBucket
    users: set[str] = field(default_factory=set)
    """The resources that work with it."""


class Projects:
    """Makes projects as they are needed and ends them when nobody uses them."""

    def __init__(self, options: ProjectOptions, on_call: Callable[[str, str, float], None]) -> None:
        """Make none yet.

        Args:
            options: what all projects have in common.
            on_call: told of each call to the vendor.

        Raises:
            OSError: The CA bundle cannot be read (`ssl.SSLError` where it holds no certificate).
        """
        self._options = options
        self._tls = tls_context(options.transport.ca_bundle)
        self._on_call = on_call
        self._projects: dict[ProjectKey, Project] = {}
        self._project_of: dict[str, Project] = {}
        self._http: dict[str, FencedClient] = {}
        self._closing: dict[asyncio.Task[None], FencedClient] = {}
        self._buckets: dict[tuple[str, str, str], TokenBucket] = {}
        self._ended_tokens = 0
        self._ended_throttled = 0.0
        self._gates: dict[tuple[str, str], AuthenticationGate] = {}
        self._budgets: WeakValueDictionary[str, RefusalBudget] = WeakValueDictionary()

    def __iter__(self) -> Iterator[Project]:
        return iter(list(self._projects.values()))

    def attach(
        self,
        resource: str,
        *,
        region: str,
        project_id: str,
        enterprise_project_id: str | None,
        credentials: Credentials,
    ) -> Project:
        """The project of a resource, made or found; the resource counts as its user.

        Raises:
            CloudError: when the region is not allowed or an id cannot be one.
        """
        endpoint = self._options.endpoints.cse(region)
        key = (endpoint, project_id, enterprise_project_id, credentials.fingerprint)
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

    def detach(self, resource: str) -> None:
        """The resource no longer uses its project, and follows nothing there."""
        project = self._project_of.pop(resource, None)
        if project is None:
            return
        project.users.discard(resource)
        if not project.users:
            del self._projects[project.key]
            self._end(project)

    def _end(self, project: Project) -> None:
        left = list(self._projects.values())
        self._ended_tokens += project.auth.tokens_bought
        endpoint = project.key[0]
        if all(other.key[0] != endpoint for other in left):
            # Whoever may name any region must not fill the memory with clients.
            http = self._http.pop(endpoint)
            closing = asyncio.create_task(http.close_when_idle(), name="close a client")
            self._closing[closing] = http
            closing.add_done_callback(self._closing.pop)

    @property
    def tokens_bought(self) -> int:
        """Tokens bought from IAM by all projects there ever were."""
        return self._ended_tokens + sum(p.auth.tokens_bought for p in self._projects.values())

    @property
    def throttled_seconds(self) -> float:
        """Seconds that the vendor's or our own limit held calls back, in all projects ever."""
        kept = sum(bucket.throttled_seconds for bucket in self._buckets.values())
        return self._ended_throttled + kept

    async def close(self) -> None:
        """End all connections."""
        clients = [*self._closing.values(), *self._http.values()]
        tasks = list(self._closing)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for http in clients:
            await http.aclose()

    def _make(self, key: ProjectKey, region: str, credentials: Credentials) -> Project:
        endpoint, project_id, enterprise_project_id, _ = key
        options = self._options
        bucket = self._bucket(key)
        auth = self._auth(key, region, credentials)
        client = CseClient(
            self._http_for(endpoint),
            endpoint,
            project_id,
            enterprise_project_id,
            auth,
            bucket,
            request_timeout=options.request_timeout,
            on_call=self._on_call,
            clock=options.clock,
        )
        return Project(key, client, auth, bucket)

    def _bucket(self, key: ProjectKey) -> TokenBucket:
        """The limit of a project: the vendor's is one for all its enterprise projects."""
        endpoint, project_id, _, fingerprint = key
        name = (endpoint, project_id, fingerprint)
        if name not in self._buckets:
            # Kept when the project ends: a resource that is deleted and made again must not
            # get around a pause. Bounded all the same.
            if len(self._buckets) >= MOST_KEPT:
                oldest = self._buckets.pop(next(iter(self._buckets)))
                self._ended_throttled += oldest.throttled_seconds
            self._buckets[name] = TokenBucket(self._options.calls_per_second)
        return self._buckets[name]

    def _auth(self, key: ProjectKey, region: str, credentials: Credentials) -> CloudAuth:
        """How one project's calls prove who makes them; told apart by what can be refused."""
        return auth_for(
            credentials,
            self._gate(key, credentials),
            project_id=key[1],
            iam_endpoint=self._options.endpoints.iam(region),
        )

    def _gate(self, key: ProjectKey, credentials: Credentials) -> AuthenticationGate:
        """The gate that refusals close.

        A key or a password is refused, and locked, wherever it is used; a token may be good
        for one project and not for another.
        """
        everywhere = not isinstance(credentials, StaticToken)
        name = ("", key[3]) if everywhere else (key[1], key[3])
        if name not in self._gates:
            # Kept when the project ends: a resource that is deleted and made again must not
            # get a refused key a fresh chance. Bounded all the same.
            if len(self._gates) >= MOST_KEPT:
                del self._gates[next(iter(self._gates))]
            self._gates[name] = AuthenticationGate(
                self._budget(credentials), cooling=self._options.credentials_cooldown
            )
        return self._gates[name]

    def _budget(self, credentials: Credentials) -> RefusalBudget:
        """What all secrets of one access key or user share; kept as long as the gate of one is."""
        budget = self._budgets.get(credentials.identity)
        if budget is None:
            budget = self._budgets[credentials.identity] = RefusalBudget()
        return budget

    def _http_for(self, endpoint: str) -> FencedClient:
        if endpoint not in self._http:
            self._http[endpoint] = build_http_client(self._options.transport, self._tls)
        return self._http[endpoint]
