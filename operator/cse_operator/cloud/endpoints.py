"""The host of each region's API. Only the operator's administrator decides it.

A resource names a region, never a host. The operator checks the region before it becomes part of a
URL; the URL's template and domain come from the operator's own settings.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Final

import httpx

from cse_operator.cloud.errors import CloudError
from cse_operator.cloud.resolver import is_local_address
from cse_operator.core.failure import Failure, FailureKind

CSE_TEMPLATE: Final = "https://cse.{region}.{domain}"
IAM_TEMPLATE: Final = "https://iam.{region}.{domain}"
STS_TEMPLATE: Final = "https://sts.{region}.{domain}"
"""The public cloud's endpoints (Huawei Cloud, Regions and Endpoints)."""

PUBLIC_DOMAIN: Final = "myhuaweicloud.com"
PUBLISHED: Final = {
    **dict.fromkeys(
        (
            *("af-south-1", "ap-southeast-1", "ap-southeast-2", "ap-southeast-3", "ap-southeast-4"),
            *("cn-east-2", "cn-east-3", "cn-east-4", "cn-east-5", "cn-north-1", "cn-north-4"),
            *("cn-north-9", "cn-north-11", "cn-north-12", "cn-south-1", "cn-south-2", "cn-south-4"),
            *("cn-southwest-2", "cn-southwest-3", "la-north-2", "la-south-2", "me-east-1"),
            *("my-kualalumpur-1", "ru-moscow-1", "ru-northwest-2", "sa-brazil-1", "tr-west-1"),
        ),
        PUBLIC_DOMAIN,
    ),
    "eu-west-101": "myhuaweicloud.eu",
}
"""The domain of each published region of the service: the regions of the vendor's SDK
(`huaweicloudsdkcse.v1.region`, 3.1.219), and the European site (Regions and Endpoints, Europe)."""

_SITE: Final = re.compile(r"([-a-z0-9*]+)=([a-z0-9]([-.a-z0-9]*[a-z0-9])?)")

_REGION = re.compile(r"[a-z]{2,}(-[a-z0-9]+)+")
_MAX_REGION = 32
_PLACEHOLDER = "{region}"
_DOMAIN = "{domain}"


class EndpointSettingError(ValueError):
    """An endpoint setting that the administrator has to correct. The message says how."""


@dataclass(frozen=True, slots=True)
class EndpointPolicy:
    """The administrator's rules: templates, sites, allowed regions, and permission for plain http.

    Raises:
        EndpointSettingError: A template is not an origin (scheme, host, port), or is insecure or
            local without `allow_insecure`; a site is malformed; an allowed region has no site.
    """

    cse_template: str = CSE_TEMPLATE
    iam_template: str = IAM_TEMPLATE
    sts_template: str = STS_TEMPLATE
    allowed_regions: tuple[str, ...] = ()
    """Regions that resources may name; if empty, any well-formed region with a known site."""
    allow_insecure: bool = False
    """Accept plain http and local addresses: for a simulator, never for the vendor."""
    sites: tuple[str, ...] = ()
    """`PATTERN=DOMAIN` for unpublished regions; the first pattern that matches decides."""
    _domains: tuple[tuple[str, str], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_domains", tuple(_site(text) for text in self.sites))
        for template in (self.cse_template, self.iam_template, self.sts_template):
            for domain in {PUBLIC_DOMAIN, *(domain for _, domain in self._domains)}:
                self._check(template, _filled(template, "cn-north-4", domain))
        for region in self.allowed_regions:
            if not is_well_formed(region):
                raise EndpointSettingError(f"{region!r} is not the name of a region")
            if self._is_nowhere(region):
                raise EndpointSettingError(
                    f"{region!r} is allowed, but its site is not known: add"
                    f" {region}=DOMAIN to --sites"
                )

    def cse(self, region: str, *, following: bool = False) -> str:
        """Return the origin of the CSE API in a region: `https://cse.cn-north-4.example.com`.

        Args:
            region: The region.
            following: Whether the caller only follows a running upgrade, which allows any
                well-formed region.

        Raises:
            CloudError: The region is malformed, not allowed, or its site is not known.
        """
        return self._origin(self.cse_template, region, following=following)

    def iam(self, region: str, *, following: bool = False) -> str:
        """Return the origin of the IAM API in a region; see `cse`."""
        return self._origin(self.iam_template, region, following=following)

    def sts(self, region: str, *, following: bool = False) -> str:
        """Return the origin of the STS API in a region, used to assume agencies; see `cse`.

        Raises:
            CloudError: As for `cse`. Also with `following`, the region's site must be known: no
                token may go to another site.
        """
        if _DOMAIN in self.sts_template and self._domain_of(region) is None:
            raise _not_allowed(f"The site of the region {region} is not known: set --sts-endpoint")
        return self._origin(self.sts_template, region, following=following)

    def identity_of(self, region: str) -> str:
        """Return the endpoint, which identifies a region's engines; else the region's name."""
        try:
            return self.cse(region, following=True).lower()
        except CloudError:
            return region

    def _origin(self, template: str, region: str, *, following: bool) -> str:
        if not is_well_formed(region):
            raise _not_allowed("The region is malformed: a region looks like cn-north-4")
        if not following:
            self._check_allowed(region)
        return _filled(template, region, self._domain_of(region) or PUBLIC_DOMAIN).rstrip("/")

    def _check_allowed(self, region: str) -> None:
        if self.allowed_regions and region not in self.allowed_regions:
            allowed = ", ".join(sorted(self.allowed_regions)[:20])
            raise _not_allowed(
                f"The operator's administrator does not allow the region {region}"
                f" (allowed: {allowed})"
            )
        if self._is_nowhere(region):
            raise _not_allowed(f"The region {region} is neither a published region nor in --sites")

    def _is_nowhere(self, region: str) -> bool:
        """Whether the templates need a site's domain and none is known for the region."""
        needed = _DOMAIN in self.cse_template or _DOMAIN in self.iam_template
        return needed and self._domain_of(region) is None

    def _domain_of(self, region: str) -> str | None:
        for pattern, domain in self._domains:
            if fnmatchcase(region, pattern):
                return domain
        return PUBLISHED.get(region)

    def _check(self, template: str, example: str) -> None:
        try:
            url = httpx.URL(example)
        except httpx.InvalidURL as error:
            raise EndpointSettingError(f"{template!r} is not a URL: {error}") from error
        if url.scheme not in {"https", "http"} or not url.host:
            raise EndpointSettingError(f"{template!r} needs to look like {CSE_TEMPLATE}")
        if url.userinfo or url.query or url.fragment or url.path not in {"", "/"}:
            raise EndpointSettingError(f"{template!r} may have only a scheme, a host and a port")
        if self.allow_insecure:
            return
        if url.scheme != "https":
            raise EndpointSettingError(f"{template!r} needs https (or --allow-insecure-endpoint)")
        if _is_local_host(url.host):
            raise EndpointSettingError(
                f"{template!r} points to this machine or a link-local address"
                " (--allow-insecure-endpoint permits that, for a simulator)"
            )


def _site(text: str) -> tuple[str, str]:
    matched = _SITE.fullmatch(text)
    if matched is None:
        raise EndpointSettingError(
            f"{text!r} is not a site: write a region or a pattern with *, then = and the domain"
            " that follows cse.<region>., such as eu-west-*=cloud.example.com"
        )
    return matched[1], matched[2]


def _filled(template: str, region: str, domain: str) -> str:
    return template.replace(_PLACEHOLDER, region).replace(_DOMAIN, domain)


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
        # A number is an address too: a resolver reads 2130706433 and 0x7f.1 as 127.0.0.1.
        return re.fullmatch(r"(0x[0-9a-f]*|\d+)", name.rpartition(".")[2]) is not None
    return is_local_address(name)


def _not_allowed(message: str) -> CloudError:
    return CloudError(Failure(FailureKind.REGION_NOT_ALLOWED, message))
