"""Whether any parameters of items, together, answer as a search through the source by hand does."""

from __future__ import annotations

from datetime import date
from typing import Any
from urllib.parse import urlencode

import pytest
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import House
from tests.rows import Row, in_order, rows

EPSG = "http://www.opengis.net/def/crs/EPSG/0/"
SORTABLES = ["event_id", "date", "type", "volume_m3", "division"]


@pytest.fixture(scope="module")
def events(sample: House) -> list[Row]:
    return rows(sample.directory / "data" / "province.gpkg", "landslides", "event_id")


_times = st.dates(date(1955, 1, 1), date(2026, 1, 1)).map(str)


@given(
    box=st.none() | st.tuples(*[st.floats(0, 1)] * 4),
    span=st.none()
    | st.tuples(st.none() | _times, st.none() | _times).filter(lambda s: s != (None, None) and (None in s or s[0] <= s[1])),
    kind=st.none() | st.sampled_from(["slide", "fall", "flow", "zz"]),
    volume=st.none() | st.tuples(st.sampled_from(["<", ">=", "<>"]), st.floats(0, 1e5, allow_nan=False)),
    sort=st.lists(st.tuples(st.sampled_from(SORTABLES), st.booleans()), max_size=3, unique_by=lambda s: s[0]),
    limit=st.integers(1, 300),
    offset=st.integers(0, 300),
)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_parameters_together(
    sample: House, events: list[Row], box: Any, span: Any, kind: Any, volume: Any, sort: Any, limit: int, offset: int
) -> None:
    """Against a search through the rows as SQLite and Shapely have them."""
    params: dict[str, Any] = {"limit": limit, "offset": offset}
    kept = events
    if box is not None:
        west, south, east, north = shapely.total_bounds([row.geometry for row in events]).tolist()
        xs, ys = (
            sorted(west + part * (east - west) for part in box[::2]),
            sorted(south + part * (north - south) for part in box[1::2]),
        )
        params |= {"bbox": f"{ys[0]!r},{xs[0]!r},{ys[1]!r},{xs[1]!r}", "bbox-crs": f"{EPSG}4547"}
        kept = [row for row in kept if xs[0] <= row.geometry.x <= xs[1] and ys[0] <= row.geometry.y <= ys[1]]
    if span is not None:
        params["datetime"] = "/".join(end or ".." for end in span)
        kept = [row for row in kept if (span[0] or "") <= row.values["date"] <= (span[1] or "9")]
    if kind is not None:
        params["type"] = kind
        kept = [row for row in kept if row.values["type"] == kind]
    if volume is not None:
        sign, much = volume
        params["filter"] = f"volume_m3 {sign} {much!r}"
        tests = {"<": lambda v: v < much, ">=": lambda v: v >= much, "<>": lambda v: v != much}
        kept = [row for row in kept if tests[sign](row.values["volume_m3"])]
    if sort:
        params["sortby"] = ",".join(("-" if descending else "") + name for name, descending in sort)
    expected = in_order(kept, sort)
    page = sample.json(f"/collections/landslides/items?{urlencode(params)}", "internal-province")
    assert [feature["id"] for feature in page["features"]] == expected[offset : offset + limit]
    assert page["numberMatched"] == len(expected)
