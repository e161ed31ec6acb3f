"""What -r works on: the objects below a folder of a store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from objectstorage.cli._output import Output
from objectstorage.cli._session import Place
from objectstorage.errors import ErrNotExist
from objectstorage.storage import ObjectInfo

__all__ = ["below", "totals"]


def below(place: Place, wanted: Callable[[str], bool]) -> Iterator[ObjectInfo]:
    """The objects below the place's folder, in key order, by their names there.

    `ErrNotExist` if there is nothing at all; a store itself may be empty.
    """
    prefix = place.folder
    found = not prefix
    for info in place.store.list(prefix):
        found = True
        if wanted(info.key[len(prefix) :]):
            yield info
    if not found:
        raise ErrNotExist(
            "nothing is below it", key=prefix, operation="list", storage=place.store.url
        )


def totals(
    place: Place, wanted: Callable[[str], bool], out: Output
) -> tuple[int | None, int | None]:
    """Bytes and objects below the folder, if somebody watches; else it costs nothing."""
    if not out.interactive:
        return None, None
    size = count = 0
    for info in below(place, wanted):
        size, count = size + info.size, count + 1
    return size, count
