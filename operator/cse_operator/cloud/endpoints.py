"""Which host stands for a region. Only the operator's administrator decides that.

A resource names a region, never a host: the region is checked before it becomes part of a URL,
and the template it is put into comes from the operator's own settings.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import httpx

from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.resolver import is_local_address
from cse_operator.core.failure import Failure, FailureKind

CSE_TEMPLATE = "https://cse.{region}.myhuaweicloud.com"
IAM_TEMPLATE = "https://iam.{region}.myhuaweicloud.com"
"""The public cloud's endpoints (Huawei Cloud, Regions and Endpoints)."""

_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_MAX_REGION = 32
_PLACEHOLDER = "{region}"


class EndpointSettingError(ValueError):
    """An endpoint template that the administrator has to correct. The text says how."""


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """The administrator's rules: templates, allowed regions, and whether plain http may be.

    Raises:
        EndpointSettingError: A template is no origin (scheme, host, port), or is insecure or
            local without `allow_insecure`.
    """

    cse_template: str = CSE_TEMPLATE
    iam_template: str = IAM_TEMPLATE
    allowed_regions: tuple[str, ...] = ()
    """Regions that resources may name; empty: any that is well formed."""
    allow_insecure: bool = False
    """Accept plain http and loopback addresses: for a simulator, never for the vendor."""

    def __post_init__(self) -> None:
        for region in self.allowed_regions:
            if not is_well_formed(region):
                raise EndpointSettingError(f"{region!r} is not the name of a region")
        sample = self.allowed_regions[0] if self.allowed_regions else "cn-north-4"
        for template in (self.cse_template, self.iam_template):
            self._check(template, template.replace(_PLACEHOLDER, sample))

    def cse(self, region: str) -> str:
        """The origin of the CSE API in a region, such as `https://cse.cn-north-4.example.com`.

        Raises:
            CloudError: The region is malformed or not on the list.
        """
        return self.cse_template.replace(_PLACEHOLDER, self._checked(region)).rstrip("/")

    def iam(self, region: str) -> str:
        """The origin of the IAM API in a region.

        Raises:
            CloudError: The region is malformed or not on the list.
        """
        return self.iam_template.replace(_PLACEHOLDER, self._checked(region)).rstrip("/")

    def identity_of(self, region: str) -> str:
        """What tells the engines of one region from those of another: the endpoint, if allowed."""
        try:
            return self.cse(region).lower()
        except CloudError:
            return region

    def _checked(self, region: str) -> str:
        if not is_well_formed(region):
            raise _not_allowed("The region is not well formed: it looks like cn-north-4")
        if self.allowed_regions and region not in self.allowed_regions:
            allowed = ", ".join(sorted(self.allowed_regions)[:20])
            raise _not_allowed(
                f"The region {region} is not among those the operator's administrator allows"
                f" ({allowed})"
            )
        return region

    def _check(self, template: str, example: str) -> None:
        try:
            url = httpx.URL(example)
        except httpx.InvalidURL as error:
            raise EndpointSettingError(f"{template!r} is not a URL: {error}") from error
        if url.scheme not in {"https", "http"} or not url.host:
            raise EndpointSettingError(f"{template!r} needs to look like {CSE_TEMPLATE}")
        if url.userinfo or url.query or url.fragment or url.path not in {"", "/"}:
            raise EndpointSettingError(
                f"{template!r} may hold a scheme, a host and a port, and nothing else"
            )
        if self.allow_insecure:
            return
        if url.scheme != "https":
            raise EndpointSettingError(f"{template!r} needs https (or --allow-insecure-endpoint)")
        if _is_local_host(url.host):
            raise EndpointSettingError(
                f"{template!r} points to this machine or a link-local address"
                " (--allow-insecure-endpoint permits that, for a simulator)"
            )


def is_well_formed(region: str) -> bool:
    """Whether a text has the form of a region's name, such as `ap-southeast-3`."""
    return len(region) <= _MAX_REGION and _REGION.fullmatch(region) is not None


def _is_local_host(host: str) -> bool:
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        # A number is an address in disguise: 2130706433 and 0x7f.1 are 127.0.0.1 to a resolver.
        return re.fullmatch(r"(0x[0-9a-f]*|\d+)", name.rpartition(".")[2]) is not None
    return is_local_address(name)


def _not_allowed(message: str) -> CloudError:
    return CloudError(Failure(FailureKind.REGION_NOT_ALLOWED, message))
