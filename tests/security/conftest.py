"""Houses in which every kind of caller has a key."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import House
from tests.security.callers import copy_of, staff


@pytest.fixture(scope="session")
def staffed(sample: House, tmp_path_factory: pytest.TempPathFactory) -> House:
    """The sample with keys for all callers; only to be read."""
    made = copy_of(sample, tmp_path_factory.mktemp("staffed") / "house")
    staff(made)
    return made


@pytest.fixture
def fresh(staffed: House, tmp_path: Path) -> House:
    """A house with keys for all callers that a test may change."""
    return copy_of(staffed, tmp_path / "fresh")
