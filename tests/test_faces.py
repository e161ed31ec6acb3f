"""The two faces have the same names and take the same arguments."""

from __future__ import annotations

import inspect

import pytest

from objectstorage import Storage, aio
from objectstorage.aio.s3 import AsyncS3Storage
from objectstorage.s3.store import S3Storage


def names(cls: type) -> set[str]:
    return {name for name in dir(cls) if not name.startswith("_")}


def shape(cls: type, name: str) -> list[tuple[str, object, object]]:
    parameters = inspect.signature(getattr(cls, name)).parameters.values()
    return [(p.name, p.kind, p.default) for p in parameters]


VERBS = sorted(
    name for name in names(Storage) if inspect.isfunction(inspect.getattr_static(Storage, name))
)


def test_the_faces_have_the_same_names() -> None:
    only_blocking = {"from_url", "OPTIONS"}  # how a URL becomes a store, of either face
    assert names(Storage) - only_blocking == names(aio.AsyncStorage) - {"aclose"}
    assert len(VERBS) > 20


@pytest.mark.parametrize("name", VERBS)
def test_the_faces_take_the_same_arguments(name: str) -> None:
    assert shape(Storage, name) == shape(aio.AsyncStorage, name)


@pytest.mark.parametrize("name", VERBS)
@pytest.mark.parametrize(
    ("store", "face"), [(S3Storage, Storage), (AsyncS3Storage, aio.AsyncStorage)]
)
def test_s3_takes_what_the_interface_says(store: type, face: type, name: str) -> None:
    assert shape(store, name) == shape(face, name)
