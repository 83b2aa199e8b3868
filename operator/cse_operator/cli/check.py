"""`cse-operator check`: checks settings, rights and credentials before the operator runs."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Sequence
from typing import Final

import uvloop
from kubernetes.aio.client import ApiClient
from pydantic import AliasChoices, Field
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
from cse_operator.cloud.sessions import SessionOptions
from cse_operator.kube.connection import connect
from cse_operator.kube.errors import KubeError, NotConfigured
from cse_operator.runtime import variables
from cse_operator.runtime.identities import Identities
from cse_operator.runtime.project_resolver import project_options
from cse_operator.runtime.settings import Settings

DESCRIPTION: Final = """\
Checks whether the operator could work: whether the cluster answers, the resource definitions are
installed, this user has the operator's rights, and the vendor's API answers. It changes nothing.

  cse-operator check                              uses no credentials
  cse-operator check --resource orders            tries its credentials, and looks at its engine
  cse-operator check --secret huaweicloud --region cn-north-4 --project-id 0a1b2c…
                                                  tries this Secret, and lists the engines

It takes the flags and variables of `cse-operator run`, so that it checks the same settings. Its
other flags have no variables. Exit code 0: all is right; 1: a problem; 2: invalid flags."""


class CheckSettings(Settings):
    """The settings of the operator, and the flags of this command."""

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
        validation_alias=AliasChoices("n", "namespace"),
        description="namespace of --resource or --secret; by default the only one of "
        "--namespaces, else the namespace default",
    )
    resource: str | None = Field(
        default=None, description="try the credentials and the engine of this resource"
    )
    secret: str | None = Field(
        default=None, description="try this Secret, with --region and --project-id"
    )
    region: str | None = Field(default=None, description="try --secret in this region")
    project_id: str | None = Field(default=None, description="try --secret on this project")

    @property
    def place(self) -> str:
        """The namespace of `resource` or `secret`."""
        only = self.namespaces[0] if len(self.namespaces) == 1 else "default"
        return self.namespace or only


def main(arguments: Sequence[str]) -> int:
    """Check, show the findings, and return the exit code."""
    settings = read_settings(
        CheckSettings, "cse-operator check", arguments, description=DESCRIPTION
    )
    if settings is None:
        return USAGE_ERROR
    console = Console(highlight=False)
    if settings.secret and not (settings.region and settings.project_id):
        console.print("--secret needs --region and --project-id", style="red")
        return USAGE_ERROR
    # The findings are shown; log lines would repeat them.
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
    """Run all checks that the settings ask for, and return their findings."""
    doubts = [
        note("settings", doubt, "Remove it, or correct it.")
        for doubt in (*settings.warnings, *variables.unused(os.environ))
    ]
    doubts += [
        note("settings", doubt, "Set it, or ignore this if no proxy is needed.")
        for doubt in variables.ignored_proxies(os.environ, settings)
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
    api_client: ApiClient, options: SessionOptions, settings: CheckSettings
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
        way_out = "Try again when the API server answers."
        return [*findings, problem("cluster", error.sentence, way_out)]
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
