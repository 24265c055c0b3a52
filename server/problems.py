"""What is answered when a request cannot be: problem details (RFC 9457), a page for browsers."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An answer other than what was asked for. `parameter` names the parameter that is wrong."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        parameter: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = HTTPStatus(status)
        self.detail = detail
        self.parameter = parameter
        self.headers = headers or {}

    @property
    def members(self) -> dict[str, Any]:
        """The members of the problem details object."""
        made: dict[str, Any] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": int(self.status),
            "detail": self.detail,
        }
        if self.parameter is not None:
            made["parameter"] = self.parameter
        return made

    def json(self) -> bytes:
        """The problem details as JSON."""
        return orjson.dumps(self.members)


def not_found(what: str) -> Problem:
    """404, worded alike for what is missing and what is unseen."""
    return Problem(404, f"{what} not found")


def invalid(parameter: str, detail: str) -> Problem:
    """400, with the name of the parameter and what was expected."""
    return Problem(400, detail, parameter=parameter)
