"""A pygeoapi feature provider that reads an edition through a grant, and raises without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any

from pygeoapi.provider.base import BaseProvider, ProviderGenericError, ProviderItemNotFoundError

from providers import crs, filters, reader
from providers.editions import EditionUnavailable
from providers.engines.geopackage import TableError, file, snapshot
from providers.grant import Grant, GrantError
from providers.query import Query, QueryError
from providers.reader import Reader
from providers.relation import open_relation
from providers.temporal import datetime_where

RETRY_AFTER = 30


class GrantRefused(ProviderGenericError):
    """The grant is missing or cannot be fulfilled: nothing is answered."""

    http_status_code = HTTPStatus.SERVICE_UNAVAILABLE
    default_msg = "this collection cannot be answered (its grant is missing or cannot be fulfilled)"


class Unavailable(ProviderGenericError):
    """The edition is not there or is stale; ask again after RETRY_AFTER seconds."""

    http_status_code = HTTPStatus.SERVICE_UNAVAILABLE
    ogc_exception_code = "ServiceUnavailable"
    default_msg = "this collection is being prepared; try again later"


class InvalidQuery(ProviderGenericError):
    """What was asked is not of the form that it must have."""

    http_status_code = HTTPStatus.BAD_REQUEST
    ogc_exception_code = "InvalidParameterValue"

    def __init__(self, err: QueryError) -> None:
        super().__init__(str(err), user_msg=str(err))
        self.parameter = err.parameter


class FeatureProvider(BaseProvider):
    """Features of one collection, as one grant lets them out.

    The definition is pygeoapi's with `grant` (a Grant or its mapping). For a grant of an open or shared edition `data` is the
    edition's file; for an internal one it is the source GeoPackage, with `table`. Raises GrantRefused without a grant.
    """

    def __init__(self, definition: dict[str, Any]) -> None:
        super().__init__(definition)
        try:
            self.grant = Grant.from_dict(definition.get("grant"))
        except GrantError as err:
            raise GrantRefused(str(err)) from err
        if "read" not in self.grant.actions:
            raise GrantRefused(f"{self.grant.collection}: reading is not granted")
        self._definition = definition
        self.sortables: list[str] = definition.get("sortables", [])
        self.described: dict[str, Any] = definition.get("fields", {})

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """A reader over one snapshot of the data. Raises GrantRefused, Unavailable, InvalidQuery."""
        try:
            with snapshot(file(self.data)) as conn:
                yield Reader(conn, open_relation(self.grant, self._definition, conn), self.time_field)
        except EditionUnavailable as err:
            raise Unavailable(str(err)) from err
        except (GrantError, TableError) as err:
            if isinstance(err, TableError) and self.grant.recipe.materialised:
                raise Unavailable(f"{self.grant.collection}: the edition has not been built yet") from err
            raise GrantRefused(str(err)) from err
        except sqlite3.DatabaseError as err:
            raise Unavailable(f"{self.grant.collection}: the file cannot be read: {err}") from err
        except QueryError as err:
            raise InvalidQuery(err) from err
        except filters.FilterError as err:
            raise InvalidQuery(QueryError("filter", f"filter: {err}")) from err

    def get_fields(self) -> dict[str, dict[str, Any]]:
        """The granted properties by name, as JSON Schema (type, format)."""
        with self.reading() as source:
            return {
                column.name: {"type": column.type, **({"format": column.format} if column.format else {})}
                for column in source.relation.columns
            }

    @property
    def fields(self) -> dict[str, dict[str, Any]]:
        return self.get_fields()

    def get_domains(self, properties: Any = (), current: bool = False) -> tuple[dict[str, list[Any]], bool]:
        """The values that occur of each property with few of them, in this edition; they are always the current ones."""
        with self.reading() as source:
            names = [c.name for c in source.relation.columns if not properties or c.name in properties]
            return {name: found for name in names if (found := source.domain(name)) is not None}, True

    def query(
        self,
        offset: int = 0,
        limit: int = 10,
        resulttype: str = "results",
        bbox: Any = (),
        datetime_: str | None = None,
        properties: Any = (),
        sortby: Any = (),
        select_properties: Any = (),
        skip_geometry: bool = False,
        crs_transform_spec: Any = None,
        q: str | None = None,
        language: Any = None,
        filterq: Any = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """pygeoapi's feature query: a FeatureCollection. `bbox` is in the definition's storage CRS and its axis order."""
        with self.reading() as source:
            where = []
            if bbox:
                where.append(source.bbox(bbox, self._definition.get("storage_crs", crs.CRS84)))
            if datetime_:
                where.append(datetime_where(datetime_, source.time))
            where += [source.equals(name, value) for name, value in properties]
            if filterq is not None:
                where.append(filters.compile(filterq, source.relation.queryables))
            asked = Query(
                where=tuple(where),
                sort=tuple((part["property"], part["order"] == "-") for part in sortby),
                limit=min(limit, self.grant.items or limit),
                offset=offset,
            )
            answer: dict[str, Any] = {"type": "FeatureCollection", "features": []}
            if resulttype == "hits":
                answer["numberMatched"] = source.count(asked)
                return answer
            texts, answer["numberMatched"], _ = source.features(
                asked,
                target=crs_transform_spec.target_crs_uri if crs_transform_spec else crs.CRS84,
                select=select_properties or None,
                skip_geometry=skip_geometry,
            )
            answer["features"] = reader.collection(texts)
            answer["numberReturned"] = len(texts)
            return answer

    def get(self, identifier: str, crs_transform_spec: Any = None, **kwargs: Any) -> dict[str, Any]:
        """One feature by its id. Raises ProviderItemNotFoundError where it is missing or unseen: both answer alike."""
        target = crs_transform_spec.target_crs_uri if crs_transform_spec else crs.CRS84
        with self.reading() as source:
            text = source.feature(identifier, target)
        if text is None:
            raise ProviderItemNotFoundError(f"item {identifier} not found")
        return reader.collection([text])[0]

    def __repr__(self) -> str:
        return f"<FeatureProvider> {self.grant.collection} ({self.grant.tier})"
