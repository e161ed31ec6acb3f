"""Paths for universal_pathlib, which finds them by entry point and imports them on use."""

from __future__ import annotations

from typing import Any

from fsspec import get_filesystem_class
from upath import UPath

__all__ = ["StoragePath"]


class StoragePath(UPath):
    """A `UPath` on a store: `UPath("objectstorage+s3://bucket/key")` is one."""

    __slots__ = ()

    @classmethod
    def _transform_init_args(
        cls, args: tuple[Any, ...], protocol: str, storage_options: dict[str, Any]
    ) -> tuple[tuple[Any, ...], str, dict[str, Any]]:
        # Looked up first: of a class not yet imported universal_pathlib knows
        # no names, and says so by a warning.
        strip = get_filesystem_class(protocol)._strip_protocol
        # It takes what precedes a "+" for the whole protocol of an argument,
        # and would refuse ours: it gets plain names instead.
        if "+" in protocol and args:
            first = args[0]
            if isinstance(first, UPath):
                storage_options = {**first.storage_options, **storage_options}
                first = first.path
            args = (strip(first), *args[1:])
        transformed: tuple[tuple[Any, ...], str, dict[str, Any]]
        transformed = super()._transform_init_args(args, protocol, storage_options)
        return transformed
