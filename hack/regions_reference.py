"""Makes the page of the published regions from the operator's own list."""  # noqa: INP001

from __future__ import annotations

from typing import Final

from cse_operator.cloud.endpoints import PUBLISHED, EndpointPolicy

HEAD: Final = """\
<!-- Generated from operator/cse_operator/cloud/endpoints.py by `make generate`. -->
# Regions

The operator knows these regions: those of the vendor's SDK, and the European site. In a region that
is not listed it starts no upgrade (`RegionNotAllowed`), until an administrator declares its site by
`--sites` ([install.md](../install.md#a-kustomization-of-your-own)). `--allowed-regions` can
forbid regions of the list. A listed region need not offer the service.

| region | endpoint |
|---|---|
"""


def render() -> str:
    """Return the page."""
    endpoints = EndpointPolicy()
    return HEAD + "".join(f"| `{name}` | `{endpoints.cse(name)}` |\n" for name in sorted(PUBLISHED))
