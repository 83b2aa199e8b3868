"""Asks osv.dev for known vulnerabilities of locked packages: `hack/audit.py LOCKFILE…`.

Exits with 1 when there are any. Without a network it says so and exits with 0: a check that
depends on somebody else's server must not stop those who cannot reach it.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import locked

SERVICE = "https://api.osv.dev/v1/querybatch"
TIMEOUT_SECONDS = 30


def main() -> int:
    """Print what is known and return the exit code."""
    packages = [package for name in sys.argv[1:] for package in locked.read(Path(name))]
    try:
        answer = ask([{"package": {"purl": package.purl}} for package in packages])
    except (urllib.error.URLError, TimeoutError) as error:
        print(f"not audited: osv.dev cannot be reached ({error})")
        return 0
    found = 0
    for package, result in zip(packages, answer["results"], strict=True):
        for vulnerability in result.get("vulns", []):
            found += 1
            name = vulnerability["id"]
            print(f"{package.name} {package.version}: https://osv.dev/vulnerability/{name}")
    print(f"{len(packages)} locked packages, {found} known vulnerabilities")
    return 1 if found else 0


def ask(queries: list[dict[str, Any]]) -> dict[str, Any]:
    """Send all queries in one request (OSV API, POST /v1/querybatch)."""
    request = urllib.request.Request(
        SERVICE,
        json.dumps({"queries": queries}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - https
        answer: dict[str, Any] = json.load(response)
    return answer


if __name__ == "__main__":
    sys.exit(main())
