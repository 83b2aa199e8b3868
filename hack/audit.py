"""Asks osv.dev for known vulnerabilities of locked packages: `hack/audit.py LOCKFILE…`.

The exit code is 1 if there are any, or if osv.dev refuses the query. If osv.dev cannot be reached,
is out of order, or another server answers in its place, the script says so and the exit code is 0:
people who cannot reach a foreign server must still be able to run the check.
"""  # noqa: INP001 - scripts, not a package

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import locked

SERVICE = "https://api.osv.dev/v1/querybatch"
TIMEOUT_SECONDS = 30
MOST_PAGES = 20


class NotAuditedError(Exception):
    """osv.dev gave no answer, for a reason outside this script."""


def main() -> int:
    """Print the known vulnerabilities and return the exit code."""
    read = (package for name in sys.argv[1:] for package in locked.read(Path(name)))
    packages = list({package.purl: package for package in read}.values())
    try:
        known = vulnerabilities([package.purl for package in packages])
    except NotAuditedError as error:
        print(f"NOT AUDITED: {error}. {len(packages)} packages were not checked: run it again.")
        return 0
    except (urllib.error.HTTPError, ValueError, KeyError, TypeError) as error:
        print(f"NOT AUDITED: osv.dev and this script do not understand each other ({error!r})")
        return 1
    for package in packages:
        for name in known[package.purl]:
            print(f"{package.name} {package.version}: https://osv.dev/vulnerability/{name}")
    found = sum(len(names) for names in known.values())
    print(f"{len(packages)} locked packages, {found} known vulnerabilities")
    return 1 if found else 0


def vulnerabilities(purls: list[str]) -> dict[str, list[str]]:
    """Return the names of each package's known vulnerabilities, read page by page.

    Raises:
        NotAuditedError: osv.dev does not answer.
        HTTPError, ValueError, KeyError, TypeError: osv.dev refuses the query, or its answer does
            not have the documented form.
    """
    known: dict[str, list[str]] = {purl: [] for purl in purls}
    queries = [(purl, {"package": {"purl": purl}}) for purl in purls]
    for _ in range(MOST_PAGES):
        if not queries:
            return known
        answer = ask([query for _, query in queries])
        following = []
        for (purl, query), result in zip(queries, answer["results"], strict=True):
            known[purl] += [each["id"] for each in result.get("vulns", [])]
            if token := result.get("next_page_token"):
                following.append((purl, {**query, "page_token": token}))
        queries = following
    raise ValueError(f"more than {MOST_PAGES} pages")


def ask(queries: list[dict[str, Any]]) -> dict[str, Any]:
    """Send all queries in one request (OSV API, POST /v1/querybatch).

    Raises:
        NotAuditedError: osv.dev cannot be reached, is out of order or too busy, or the answer is
            not JSON, as of a proxy in its place.
        HTTPError: osv.dev refuses the query.
    """
    request = urllib.request.Request(
        SERVICE,
        json.dumps({"queries": queries}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as response:  # noqa: S310 - https
            answer: dict[str, Any] = json.load(response)
    except urllib.error.HTTPError as error:
        if error.code in {407, 429} or error.code >= 500:  # noqa: PLR2004
            raise NotAuditedError(f"osv.dev is out of order (HTTP {error.code})") from None
        raise
    except (OSError, http.client.HTTPException) as error:
        raise NotAuditedError(f"osv.dev cannot be reached ({error!r})") from None
    except ValueError:
        raise NotAuditedError("the answer for osv.dev is not JSON") from None
    return answer


if __name__ == "__main__":
    sys.exit(main())
