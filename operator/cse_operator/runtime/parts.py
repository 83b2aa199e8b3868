"""The parts of the operator, and their wiring."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from kubernetes.aio.client import ApiClient

from cse_operator.api import names
from cse_operator.cloud.auth.credentials import SECRET_KEYS
from cse_operator.cloud.sessions import ProjectSessions
from cse_operator.core.policies import PolicySet
from cse_operator.kube.events import EventPoster
from cse_operator.kube.kopf_watch import KopfWatch
from cse_operator.kube.lease import LeaderElector, LeaseTimes
from cse_operator.kube.policy_reader import PolicyReader
from cse_operator.kube.resource_reader import ResourceReader
from cse_operator.kube.secrets import TIME_TO_LIVE, SecretReader
from cse_operator.kube.status_writer import StatusWriter
from cse_operator.runtime.authority import Authority
from cse_operator.runtime.cache import Cache
from cse_operator.runtime.calls import Calls
from cse_operator.runtime.gate import Gate
from cse_operator.runtime.identities import Identities
from cse_operator.runtime.informer import Informer
from cse_operator.runtime.metrics import Metrics
from cse_operator.runtime.ownership import Ownership
from cse_operator.runtime.policy_informer import PolicyInformer
from cse_operator.runtime.policy_metrics import PolicyMetrics
from cse_operator.runtime.policy_statuses import PolicyStatuses
from cse_operator.runtime.polls import Polls
from cse_operator.runtime.project_resolver import ProjectResolver, project_options
from cse_operator.runtime.reconcile import Dependencies, Intervals, Reconciler
from cse_operator.runtime.recorder import Recorder
from cse_operator.runtime.resource_metrics import ResourceMetrics, Sources
from cse_operator.runtime.settings import PROJECTS_AT_ONCE, Settings
from cse_operator.runtime.statuses import Statuses
from cse_operator.runtime.workers import Workers
from cse_operator.runtime.workqueue import Group, WorkQueue

PAGE: Final = 8
"""Resources in one page of our lists: one resource may have 1.5 MiB, and 5 MiB once it is
parsed."""


class Parts:
    """All parts of one operator.

    Args:
        settings: the administrator's settings.
        api_client: the connection to the cluster.
        identity: the name of this process in the Lease and in Events.
        on_leading: called when this process becomes the leader.
        on_lease_lost: called when it stops being the leader against its will.
    """

    def __init__(
        self,
        settings: Settings,
        api_client: ApiClient,
        *,
        identity: str,
        on_leading: Callable[[], None],
        on_lease_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._api_client = api_client
        options = project_options(settings)
        grace = settings.limits.grace
        self.metrics = Metrics()
        self.events = EventPoster(api_client, instance=identity)
        self.elector = self._elector(identity, on_leading, on_lease_lost)
        self.authority = Authority(
            grace=grace, observes_only=settings.observe_only, remaining=self._lease_remaining
        )
        self.projects = ProjectSessions(
            replace(options, clock=self.authority.clock), self.metrics.cloud_call
        )
        self.queue = WorkQueue(slots=settings.workers * PROJECTS_AT_ONCE, group_of=self._group_of)
        self.queue.on_wait = self.metrics.queue_wait
        self.ownership = Ownership(grace=grace, enqueue=self.queue.add)
        self.cache = Cache(self.ownership, options.endpoints.identity_of)
        self._leads_since: float | None = None
        self._add_policies(identity)
        self.reader = ResourceReader(api_client, page_size=PAGE)
        dependencies = self._dependencies()
        self.reconciler = Reconciler(dependencies)
        self.workers = Workers(self.queue, self.reconciler.reconcile, self.metrics)
        self.informer = self._informer(dependencies.calls)
        self.watch = KopfWatch(
            api_client, self.informer.on_event, identity=identity, namespaces=self.informer.served
        )
        self.informer.begin_watch_again = self.watch.begin_again
        self.metrics.add(self._resource_metrics())
        self.metrics.add(self._policy_metrics())

    def _informer(self, calls: Calls) -> Informer:
        return Informer(
            self.reader,
            self.cache,
            self.queue,
            namespaces=self._settings.namespaces,
            interval=self._settings.resync_interval,
            keeps=calls.is_unrecorded,
        )

    def _add_policies(self, identity: str) -> None:
        settings = self._settings
        self.policies = PolicyInformer(
            PolicyReader(self._api_client),
            namespaces=settings.namespaces,
            required=settings.require_policy,
        )
        self.gate = Gate(
            self.cache,
            self.queue,
            lambda: self.policies.policies,
            listed=lambda: self._since_this_leads(self.informer.listed_at),
            policies_listed=lambda: self._since_this_leads(self.policies.listed_at),
        )
        self.cache.on_change = self.gate.changed
        self.cache.on_remove = self.gate.removed
        self.policy_statuses = self._policy_statuses()
        self.gate.on_sweep = self.policy_statuses.swept
        self.policies.on_change = self._policies_changed
        self.policy_watch = self._policy_watch(identity)
        self.policies.begin_watch_again = self.policy_watch.begin_again

    def lead(self) -> None:
        """Take the right to act, and list again to see what the previous leader did."""
        self._leads_since = asyncio.get_running_loop().time()
        self.authority.begin()
        self.policies.list_soon()
        if self.informer.synced:
            self.informer.list_soon()

    def _since_this_leads(self, listed: float | None) -> bool:
        since = self._leads_since
        return listed is not None and since is not None and listed >= since

    def _policies_changed(self, before: PolicySet) -> None:
        self.gate.policies_changed()
        if self._leads():
            self.policy_statuses.policies_changed(before)

    def _leads(self) -> bool:
        return self.elector is None or self.elector.is_leader()

    def _policy_statuses(self) -> PolicyStatuses:
        plurals = {
            names.POLICY_KIND: names.POLICY_PLURAL,
            names.CLUSTER_POLICY_KIND: names.CLUSTER_POLICY_PLURAL,
        }
        return PolicyStatuses(
            {kind: StatusWriter(self._api_client, plural=p) for kind, p in plurals.items()},
            self.policies,
            self.cache,
            self.events,
            self.metrics,
        )

    def _policy_watch(self, identity: str) -> KopfWatch:
        """Return a separate watch, so that a forbidden one does not end the engines' watch."""
        namespaces = self._settings.namespaces
        of_cluster = () if namespaces else (names.CLUSTER_POLICY_PLURAL,)
        return KopfWatch(
            self._api_client,
            self.policies.on_event,
            identity=identity,
            plurals=(names.POLICY_PLURAL, *of_cluster),
            namespaces=self.policies.served,
        )

    def _policy_metrics(self) -> PolicyMetrics:
        return PolicyMetrics(
            lambda: self.policies.policies,
            self.policy_statuses.shown,
            self.cache,
            self._leads,
            resource_limit=self._settings.metrics_resource_limit,
        )

    def _elector(
        self, identity: str, on_leading: Callable[[], None], on_lease_lost: Callable[[], None]
    ) -> LeaderElector | None:
        settings = self._settings
        if not settings.leader_elect:
            return None
        return LeaderElector(
            self._api_client,
            namespace=settings.lease_namespace,
            name=settings.lease_name,
            identity=identity,
            on_started=on_leading,
            on_lost=on_lease_lost,
            times=LeaseTimes.within(settings.lease_duration),
        )

    def _dependencies(self) -> Dependencies:
        settings, limits = self._settings, self._settings.limits
        resolver = self._project_resolver()
        statuses = Statuses(
            StatusWriter(self._api_client),
            self.cache,
            self.queue,
            self.ownership,
            Recorder(self.events, self.metrics),
        )
        calls = Calls(
            queue=self.queue,
            resolver=resolver,
            ownership=self.ownership,
            authority=self.authority,
            statuses=statuses,
            limits=limits,
            send_window=settings.send_window,
        )
        return Dependencies(
            queue=self.queue,
            cache=self.cache,
            reader=self.reader,
            resolver=resolver,
            ownership=self.ownership,
            gate=self.gate,
            authority=self.authority,
            statuses=statuses,
            calls=calls,
            polls=Polls(interval=settings.poll_interval, limit=settings.calls_per_second),
            metrics=self.metrics,
            limits=limits,
            intervals=Intervals(settings.progress_interval, settings.resync_interval),
        )

    def _project_resolver(self) -> ProjectResolver:
        # No look uses a Secret that was read longer ago than one resync.
        time_to_live = min(TIME_TO_LIVE, self._settings.resync_interval)
        secrets = SecretReader(self._api_client, keys=SECRET_KEYS, time_to_live=time_to_live)
        return ProjectResolver(
            secrets, self.projects, Identities.of_settings(self._settings, self._api_client)
        )

    def _lease_remaining(self) -> float:
        return self.elector.remaining() if self.elector is not None else float("inf")

    def _group_of(self, key: str) -> Group:
        namespace = key.partition("/")[0]
        return Group(namespace, self.ownership.project_of(key))

    def _resource_metrics(self) -> ResourceMetrics:
        sources = Sources(
            cache=self.cache,
            queue_depth=lambda: len(self.queue),
            backoff_depth=lambda: self.queue.backoff_depth,
            resync_age=lambda: self.informer.age,
            skipped_namespaces=lambda: len(self.informer.skipped),
            start_wait=self.authority.may_call_in,
            tokens_obtained=lambda: self.projects.tokens_obtained,
            throttled_seconds=lambda: self.projects.throttled_seconds,
            events_lost=lambda: self.events.lost,
            watch_starts=lambda: self.watch.begun,
            leading=self._leads,
        )
        return ResourceMetrics(sources, resource_limit=self._settings.metrics_resource_limit)
