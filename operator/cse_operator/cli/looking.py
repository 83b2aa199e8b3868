"""Flags, credentials and a client for the commands that only look at the vendor.

The client is a `CseReader`, which has no method that changes an engine.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from collections.abc import Coroutine, Mapping
from typing import Any, Final, TypeVar

import uvloop
from kubernetes.aio.client import ApiClient
from pydantic import SecretStr, ValidationError
from pydantic_settings import SettingsError

from cse_operator.cloud.auth.credentials import SECRET_KEYS, Credentials, parse_secret
from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.reader import CseReader
from cse_operator.cloud.sessions import ProjectSessions
from cse_operator.core.failure import Failure, FailureKind
from cse_operator.kube import errors
from cse_operator.kube.secrets import SecretReader
from cse_operator.runtime import variables
from cse_operator.runtime.project_resolver import project_options
from cse_operator.runtime.settings import Settings

Result = TypeVar("Result")

_FLAGS: Final = ("cse_endpoint", "iam_endpoint", "https_proxy", "ca_bundle", "request_timeout")
_METAVARS: Final = {"ca_bundle": "FILE", "request_timeout": "SECONDS"}

VARIABLES: Final = {
    "HUAWEICLOUD_SDK_AK": "accessKey",
    "HUAWEICLOUD_SDK_SK": "secretKey",
    "HUAWEICLOUD_SDK_SECURITY_TOKEN": "securityToken",
}
"""The variables of the vendor's SDK, each with the key of a Secret for the same value."""

WAY_OUT: Final = (
    "set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK, or name a Secret with --secret and -n"
)


def add_vendor_flags(parser: argparse.ArgumentParser) -> None:
    """Add those flags of `run` that say how to reach the vendor."""
    group = parser.add_argument_group("how to reach the vendor (as for cse-operator run)")
    for name in _FLAGS:
        group.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=_METAVARS.get(name, "URL"),
            help=Settings.model_fields[name].description,
        )
    group.add_argument(
        "--allow-insecure-endpoint",
        action="store_true",
        default=None,
        help=Settings.model_fields["allow_insecure_endpoint"].description,
    )


def settings_from(arguments: argparse.Namespace) -> Settings | None:
    """Read the operator's settings; if they are invalid, print why and return None."""
    names = (*_FLAGS, "allow_insecure_endpoint")
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    problems = list(variables.misspelt(os.environ))
    if not problems:
        try:
            settings = Settings(**given)
            project_options(settings)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False)
            problems = [
                f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in found
            ]
        except (SettingsError, ValueError) as error:
            problems = [str(error)]
        else:
            for doubt in (*settings.warnings, *variables.unused(os.environ)):
                say(doubt)
            return settings
    sys.stderr.writelines(f"{problem}\n" for problem in problems)
    return None


def environment_credentials(environment: Mapping[str, str]) -> Credentials | None:
    """Return the access key in the variables of the vendor's SDK; None if none of them is set.

    Raises:
        CloudError: A variable is missing, or its value is no key.
    """
    found = {
        key: SecretStr(environment[name])
        for name, key in VARIABLES.items()
        if environment.get(name)
    }
    if not found:
        return None
    try:
        return parse_secret(found)
    except CloudError as error:
        said = error.failure.message.replace("The Secret", "The environment")
        names = ", ".join(VARIABLES)
        failure = Failure(FailureKind.CREDENTIALS_INVALID, f"{said} (the variables {names})")
    raise CloudError(failure)


async def secret_credentials(api_client: ApiClient, namespace: str, name: str) -> Credentials:
    """Return the credentials in a Secret of the cluster.

    Raises:
        CloudError: The Secret is missing, may not be read, or holds no credentials.
        KubeError: The API server does not answer.
    """
    try:
        secret = await SecretReader(api_client, keys=SECRET_KEYS).read(namespace, name)
    except (errors.SecretNotFound, errors.SecretInvalid, errors.Denied) as error:
        failure = Failure(FailureKind.CREDENTIALS_MISSING, error.sentence)
    else:
        return parse_secret(secret.data)
    raise CloudError(failure)


async def named_credentials(api_client: ApiClient, namespace: str, name: str) -> Credentials:
    """Return the credentials in the Secret of --secret and -n; if there are none, say what to do.

    Raises:
        CloudError: As for `secret_credentials`.
        KubeError: The API server does not answer.
    """
    try:
        return await secret_credentials(api_client, namespace, name)
    except CloudError as error:
        if error.failure.kind is not FailureKind.CREDENTIALS_MISSING:
            raise
        told = f"{error.failure.message}; {WAY_OUT}"
    raise CloudError(Failure(FailureKind.CREDENTIALS_MISSING, told))


class Vendor:
    """Makes readers of projects. It cannot start anything: a reader has no such call.

    Raises:
        OSError: The CA bundle cannot be read.
    """

    def __init__(self, settings: Settings) -> None:
        self._projects = ProjectSessions(project_options(settings), lambda *_: None)
        self._readers: dict[tuple[str, str, str | None, str], CseReader] = {}

    def reader(
        self,
        credentials: Credentials,
        *,
        region: str,
        project_id: str,
        enterprise_project_id: str | None = None,
    ) -> CseReader:
        """Return the reader of a project; each credential has its own.

        Raises:
            CloudError: The region is not allowed, or an id is malformed.
        """
        key = (region, project_id, enterprise_project_id, credentials.fingerprint)
        if key not in self._readers:
            self._readers[key] = self._projects.reader(
                region=region,
                project_id=project_id,
                enterprise_project_id=enterprise_project_id,
                credentials=credentials,
            )
        return self._readers[key]

    async def close(self) -> None:
        """Close all connections."""
        await self._projects.close()


def run_to_end(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a command's work without log lines: the command itself reports what is wrong."""
    logging.basicConfig(level=logging.CRITICAL)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


def say(sentence: str) -> None:
    """Write a sentence to standard error, beside the result on standard output."""
    sys.stderr.write(f"{sentence}\n")
