"""Names put aside until both listings are complete."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from typing import IO

__all__ = ["Names"]


class Names:
    """Many names, on disk once they are more than fit in a little memory."""

    def __init__(self) -> None:
        self._file: IO[str] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by __exit__
            max_size=1 << 20, mode="w+"
        )
        self._count = 0

    def __enter__(self) -> Names:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        self._file.seek(0)
        return (json.loads(line) for line in self._file)

    def add(self, name: str) -> None:
        # JSON: one line, in ASCII, whatever the name is
        self._file.write(json.dumps(name) + "\n")
        self._count += 1
