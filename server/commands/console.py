"""What commands share: the state, its refusals as the command's errors, and rows as aligned text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import click

from server.settings import Settings
from server.state import State, StateError


@contextmanager
def open_state(settings: Settings) -> Iterator[State]:
    """The state for the time of a command. A StateError ends the command with its message and exit code 1."""
    state = State(settings.state / "state.sqlite")
    try:
        yield state
    except StateError as err:
        raise click.ClickException(str(err)) from err
    finally:
        state.close()


def table(head: Sequence[str], rows: Iterable[Sequence[str | None]]) -> str:
    """Rows under a head, each column as wide as its widest cell on a terminal; '-' for a cell that is None or empty."""
    cells = [list(head), *([cell or "-" for cell in row] for row in rows)]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    lines = ("  ".join(c + " " * (w - _width(c)) for c, w in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def _width(text: str) -> int:
    """Columns of a terminal; wide East Asian characters take two (Unicode Standard Annex 11), combining ones none."""
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF") for character in text
    )
