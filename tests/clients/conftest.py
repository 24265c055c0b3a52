"""What the clients share: a proxy between them and the served sample, and the sample's source."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.clients.recorder import Recorder
from tests.clients.seen import Source
from tests.conftest import House


@pytest.fixture(scope="module")
def recorder(served: str) -> Iterator[Recorder]:
    """A proxy through which a client reaches the served sample, and nothing else."""
    made = Recorder(served)
    yield made
    made.close()


@pytest.fixture(scope="session")
def source(sample: House) -> Iterator[Source]:
    """The data that the sample's policy is about."""
    made = Source(sample.directory / "data" / "province.gpkg")
    yield made
    made.close()
