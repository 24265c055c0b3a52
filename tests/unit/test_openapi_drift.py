"""The API definition in openapi/ is the one that the sample's open audience is given."""

from __future__ import annotations

from server.settings import ROOT
from tests.conftest import House


def test_the_kept_definition_is_what_is_served(sample: House) -> None:
    kept = (ROOT / "openapi" / "open.json").read_text(encoding="utf-8")
    assert sample.tierra("openapi") == kept, "the API has changed: write it anew with `tierra openapi > openapi/open.json`"
