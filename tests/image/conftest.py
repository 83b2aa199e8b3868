"""The built image, and how a Pod would run it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.image import Image


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    made = Image(tmp_path_factory.mktemp("account"))
    try:
        yield made
    finally:
        made.close()
