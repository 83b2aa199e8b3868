"""The proxy to the vendor, from the administrator's settings."""

from __future__ import annotations

import base64
import re
from typing import TYPE_CHECKING

import httpx

if TYPE_CHECKING:
    from pydantic import SecretStr

_NAME = re.compile(
    r"\.?[a-z0-9_]([-._a-z0-9]*[a-z0-9])?|[0-9a-f]*:[0-9a-f]*:[0-9a-f:.]*", re.IGNORECASE
)
_HOST = re.compile(r"[^\s%]+")
_LAST_PORT = 2**16 - 1


def proxy_of(url: SecretStr) -> httpx.Proxy:
    """Return the proxy, with its user and password in a header.

    aiohttp has deprecated passing them any other way.

    Raises:
        ValueError: The URL is not usable for a proxy. The message repeats no part of the URL: a
            library's own message may quote a part of the password, such as "Invalid port: 'pa'".
    """
    parsed = _origin(url.get_secret_value())
    if parsed is None:
        raise ValueError(
            "this is not the URL of a proxy, such as http://user:password@proxy:3128 (special "
            "characters of a password are percent-encoded: %2F stands for /)"
        )
    proxy = httpx.Proxy(parsed)
    if proxy.auth is None:
        return proxy
    user, password = proxy.auth
    basic = base64.b64encode(f"{user}:{password}".encode()).decode()
    return httpx.Proxy(proxy.url, headers={"Proxy-Authorization": f"Basic {basic}"})


def check_no_proxy(names: tuple[str, ...]) -> None:
    """Reject entries that would silently match no host, such as a network.

    Raises:
        ValueError: An entry is neither a domain nor an address; the message names the entry.
    """
    for name in names:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"{name!r} is neither a domain nor an address: a domain includes all hosts in it"
            )


def is_without_proxy(host: str, names: tuple[str, ...]) -> bool:
    """Whether a host is one of the given names, or lies in one of the given domains."""
    host = host.rstrip(".").lower()
    bare = (name.strip(".").lower() for name in names)
    return any(host == name or host.endswith(f".{name}") for name in bare)


def _origin(text: str) -> httpx.URL | None:
    """Return a URL of only scheme, host and port, else `None`.

    A path, query or fragment means that the password contains an unencoded `/`, `?` or `#`.
    """
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        return None
    bare = url.path == "/" and not url.query and not url.fragment
    whole = url.scheme in {"http", "https"} and _HOST.fullmatch(url.host) is not None
    there = url.port is None or 0 < url.port <= _LAST_PORT
    return url if bare and whole and there else None
