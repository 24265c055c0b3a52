"""Who asks in these tests: a caller of every kind, what each may look through, and what none of the others may see."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from werkzeug.test import TestResponse

from tests.conftest import House

# the names under which their keys lie in demo-keys.json; None for who has no key
ANONYMOUS = None
CALLERS: tuple[str | None, ...] = (
    ANONYMOUS,
    "shared",
    "department",
    "internal-county",
    "other-county",
    "internal-city",
    "internal-province",
    "internal-nation",
    "approver",
)
COUNTY, OTHER_COUNTY, CITY = "510101", "510202", "5101"
_MORE = {
    "department": ("--tier", "shared", "--agency", "Department of Transport"),
    "other-county": ("--tier", "internal", "--level", "county", "--division", OTHER_COUNTY),
    "internal-city": ("--tier", "internal", "--level", "city", "--division", CITY),
    "internal-nation": ("--tier", "internal", "--level", "nation"),
}


def tier_of(caller: str | None) -> str:
    """The best tier of a caller."""
    if caller is None:
        return "open"
    return "shared" if caller in ("shared", "department") else "internal"


def prefixes_of(caller: str | None) -> tuple[str, ...]:
    """The prefixes under which a caller is answered."""
    return {"open": ("", "/open"), "shared": ("", "/open", "/shared")}.get(tier_of(caller), ("", "/open", "/shared", "/internal"))


class Staffed(House):
    """A house in which callers of every kind have a key."""

    def get(self, path: str, key: str | None = None, method: str = "GET", **headers: str) -> TestResponse:
        """Ask the application; `key` names a caller or is a key itself; header names have _ for -."""
        return super().get(path, None if key is None else self.keys.get(key, key), method, **headers)


def staff(house: House) -> None:
    """Make the keys that the demonstration does not have, and put them beside its own."""
    file = house.directory / "state" / "demo-keys.json"
    keys = house.keys
    for name, scope in _MORE.items():
        keys[name] = house.tierra("key", "add", *scope).splitlines()[0]
    file.write_text(json.dumps(keys))


def copy_of(house: House, directory: Path) -> Staffed:
    """Another house that is the same: configuration, data, keys, approvals, editions."""
    shutil.copytree(house.directory, directory)
    return Staffed(directory)


def key_id(house: House, caller: str) -> str:
    """The id of a caller's key, which is no secret."""
    return house.keys[caller].partition(".")[0]
