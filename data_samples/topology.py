"""How areas share their borders: vertices and edges, each held once, whichever areas meet there.

An area is a ring of references to edges, counter-clockwise: `e` is edge e in its own direction, `~e` the same edge
backwards. When an edge is split, it stays and stands for its two halves. So a neighbour that refers to it sees the new
vertex too, and areas that meet have identical vertices all along the border.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import pairwise

Point = tuple[float, float]


class Planar:
    """Vertices (metres, rounded to the millimetre) and edges of a subdivision of the plane."""

    def __init__(self) -> None:
        self.x = array("d")
        self.y = array("d")
        self.tail = array("i")
        self.head = array("i")
        self.half = array("i")  # first of the two halves, -1 while the edge is whole

    def vertex(self, point: Point) -> int:
        """Add a vertex; gives its number."""
        self.x.append(round(point[0], 3))
        self.y.append(round(point[1], 3))
        return len(self.x) - 1

    def edge(self, tail: int, head: int) -> int:
        """Add an edge between two vertices; gives its number."""
        self.tail.append(tail)
        self.head.append(head)
        self.half.append(-1)
        return len(self.tail) - 1

    def path(self, vertices: Sequence[int]) -> list[int]:
        """Add the edges of a line through the vertices."""
        return [self.edge(a, b) for a, b in pairwise(vertices)]

    def split(self, reference: int, vertex: int) -> tuple[int, int]:
        """Split a whole edge at a vertex; gives the two halves in the direction of the reference."""
        edge = reference if reference >= 0 else ~reference
        first = self.edge(self.tail[edge], vertex)
        second = self.edge(vertex, self.head[edge])
        self.half[edge] = first
        return (first, second) if reference >= 0 else (~second, ~first)

    def whole(self, ring: Iterable[int]) -> list[int]:
        """The ring with each split edge replaced by its halves, down to whole edges."""
        half = self.half
        found: list[int] = []
        stack = list(ring)
        stack.reverse()
        while stack:
            reference = stack.pop()
            first = half[reference if reference >= 0 else ~reference]
            if first < 0:
                found.append(reference)
            elif reference >= 0:
                stack.append(first + 1)
                stack.append(first)
            else:
                stack.append(~first)
                stack.append(~first - 1)  # ~(first + 1)
        return found

    def vertices(self, ring: Iterable[int]) -> list[int]:
        """The numbers of the vertices along a ring of whole edges; the first is not repeated."""
        tail, head = self.tail, self.head
        return [tail[r] if r >= 0 else head[~r] for r in ring]
