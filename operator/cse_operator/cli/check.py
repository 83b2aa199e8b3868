"""`cse-operator check`: is everything right before anything runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Final

import uvloop
from kubernetes.aio.client import ApiClient
from pydantic import Field
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource
from rich.console import Console

from cse_operator.cli.cloud_checks import (
    Target,
    check_credentials,
    check_endpoints,
    find_target,
)
from cse_operator.cli.cluster_checks import (
    check_cluster,
    check_definition,
    check_rights,
    regions_of_resources,
)
from cse_operator.cli.flags import USAGE_ERROR, read_settings
from cse_operator.cli.report import Finding, Mark, note, problem, show
from cse_operator.cloud.endpoints import EndpointSettingError
from cse_operator.cloud.projects import ProjectOptions
from cse_operator.kube.errors import KubeError, NotConfigured
from cse_operator.kube.login import connect
from cse_operator.runtime import variables
from cse_operator.runtime.access import project_options
from cse_operator.runtime.identities import Identities
from cse_operator.runtime.settings import Settings

DESCRIPTION: Final = """\
Says whether the operator could work: is the cluster there, the resource definition installed, may
this user do what the operator has to, does the vendor's API answer. It changes nothing.

  cse-operator check                              no credentials are used
  cse-operator check --resource orders            also its Secret, and one look at its engine
  cse-operator check --secret huaweicloud --region cn-north-4 --project-id 0a1b2c…
                                                  also this Secret, and one list of engines

Takes the flags and variables of `cse-operator run`, so that it sees what that would see; what it
takes beside them are flags only. Exit code 0: all is
right; 1: something is not; 2: the flags are no good."""


class CheckSettings(Settings):
    """What can be asked for, beside the settings of the operator itself."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic's signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read only the operator's own settings from the environment."""
        return init_settings, EnvSettingsSource(Settings)

    namespace: str | None = Field(
        default=None,
        description="namespace of --resource or --secret; without it the one of --namespaces, "
        "or default",
    )
    resource: str | None = Field(
        default=None, description="a resource whose credentials and engine are tried"
    )
    secret: str | None = Field(
        default=None, description="a Secret to try, with --region and --project-id"
    )
    region: str | None = Field(default=None, description="region to try --secret in")
    project_id: str | None = Field(default=None, description="project to try --secret on")

    @property
    def place(self) -> str:
        """The namespace of what is tried."""
        only = self.namespaces[0] if len(self.namespaces) == 1 else "default"
        return self.namespace or only


def main(arguments: Sequence[str]) -> int:
    """Check and show what was found; returns the exit code."""
    settings = read_settings(
        CheckSettings, "cse-operator check", arguments, description=DESCRIPTION
    )
    if settings is None:
        return USAGE_ERROR
    console = Console(highlight=False)
    if settings.secret and not (settings.region and settings.project_id):
        console.print("--secret needs --region and --project-id", style="red")
        return USAGE_ERROR
    # What is found is shown; what the parts below would log of it is the same once more.
    logging.basicConfig(level=logging.CRITICAL)
    new_loop = uvloop.new_event_loop
    with console.status("checking"), asyncio.Runner(loop_factory=new_loop) as runner:
        findings = runner.run(find_all(settings))
    show(findings, console)
    problems = sum(finding.mark is Mark.PROBLEM for finding in findings)
    if problems:
        console.print(f"\n{problems} of {len(findings)} need attention.", style="bold red")
    else:
        console.print("\nAll is right.", style="bold green")
    return 1 if problems else 0


async def find_all(settings: CheckSettings) -> list[Finding]:
    """Look at everything that was asked for."""
    doubts = [
        note("settings", doubt, "Remove it, or correct it.")
        for doubt in (*settings.warnings, *variables.unused(os.environ))
    ]
    doubts += [
        note("settings", doubt, "Set it, or leave it where none is needed.")
        for doubt in variables.unheeded_proxies(os.environ, settings)
    ]
    return [*doubts, *await _with_settings(settings)]


async def _with_settings(settings: CheckSettings) -> list[Finding]:
    try:
        options = project_options(settings)
    except EndpointSettingError as error:
        return [problem("settings", str(error), "See cse-operator run --help.")]
    try:
        api_client = await connect(kubeconfig=os.environ.get("KUBECONFIG"))
    except NotConfigured as error:
        return [problem("cluster", error.sentence, "export KUBECONFIG=…")]
    try:
        return await _find_all(api_client, options, settings)
    finally:
        await api_client.close()


async def _find_all(
    api_client: ApiClient, options: ProjectOptions, settings: CheckSettings
) -> list[Finding]:
    findings = [await check_cluster(api_client)]
    if findings[0].mark is Mark.PROBLEM:
        return findings
    try:
        definition, installed = await check_definition(api_client)
        findings += [definition, *await check_rights(api_client, settings)]
        regions: frozenset[str] = frozenset()
        target = None
        if installed:
            found, regions = await regions_of_resources(api_client, settings)
            findings.append(found)
            target = await _target(api_client, settings, findings)
    except KubeError as error:
        return [*findings, problem("cluster", error.sentence, "Try again when it answers.")]
    named = frozenset(filter(None, (settings.region, *settings.allowed_regions)))
    findings += await check_endpoints(options, named or regions)
    if target is not None:
        identities = Identities.of_settings(settings, api_client)
        findings += await check_credentials(api_client, options, settings.place, target, identities)
    return findings


async def _target(
    api_client: ApiClient, settings: CheckSettings, findings: list[Finding]
) -> Target | None:
    if settings.resource:
        finding, target = await find_target(api_client, settings.place, settings.resource)
        findings.append(finding)
        return target
    if settings.secret and settings.region and settings.project_id:
        return Target(settings.region, settings.project_id, settings.secret)
    return None
