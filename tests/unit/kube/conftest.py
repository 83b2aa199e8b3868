"""A stub of the API server for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubernetes.aio.client import ApiClient

from support.api_server_stub import ApiServerStub, api_server_stub


@pytest.fixture
async def connected(tmp_path: Path) -> AsyncIterator[tuple[ApiServerStub, ApiClient]]:
    """A stub of the API server, and a connection to it."""
    async with api_server_stub(tmp_path) as both:
        yield both
