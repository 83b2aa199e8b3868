"""Asks osv.dev for known vulnerabilities of locked packages: `hack/audit.py LOCKFILE…`.

Exits with 1 when there are any, or when osv.dev does not understand the question. Where it cannot
be reached, is out of order, or something else answers in its place, that is said and the exit code
is 0: a check that depends on somebody else's server must not stop those who cannot reach it.
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
    """There is no answer, for a reason that is not ours."""


def main() -> int:
    """Print what is known and return the exit code."""
    read = (package for name in sys.argv[1:] for package in locked.read(Path(name)))
    packages = list({package.purl: package for package in read}.values())
    try:
        known = vulnerabilities([package.purl for package in packages])
    except NotAuditedError as error:
        print(f"NOT AUDITED: {error}. Nothing was asked about {len(packages)} packages; ask again.")
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
    """Return the names of all that is known of each package, page by page.

    Raises:
        NotAuditedError: osv.dev does not answer.
        HTTPError, ValueError, KeyError, TypeError: It refuses the question, or its answer is not
            the documented one.
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
        NotAuditedError: It cannot be reached, is out of order or too busy, or what answers in its
            place speaks no JSON.
        HTTPError: It refuses the question.
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
        raise NotAuditedError("what answers in the place of osv.dev speaks no JSON") from None
    return answer


if __name__ == "__main__":
    sys.exit(main())
