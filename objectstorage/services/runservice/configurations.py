"""The runs' configurations in the store."""

from __future__ import annotations

import json

from objectstorage.aio.storage import AsyncStorage
from objectstorage.services.runservice.configuration import Configuration

__all__ = ["Configurations"]

_HELD = 64


class Configurations:
    """An object for each run, created only; the last few that were read are held."""

    def __init__(self, store: AsyncStorage) -> None:
        self._store = store
        self._held: dict[str, Configuration] = {}

    async def put(self, run: str, configuration: Configuration) -> None:
        """Keep a run's configuration; `ErrExist` if there is such a run."""
        data = json.dumps(configuration.fields).encode()
        await self._store.put(_key(run), data, create=True)

    async def get(self, run: str) -> Configuration:
        """A run's configuration; it never changes."""
        found = self._held.pop(run, None)
        if found is None:
            found = Configuration(json.loads(await self._store.get(_key(run))))
        self._held[run] = found
        if len(self._held) > _HELD:
            del self._held[next(iter(self._held))]
        return found

    async def delete(self, run: str) -> None:
        """Forget a run's configuration."""
        self._held.pop(run, None)
        await self._store.delete(_key(run))


def _key(run: str) -> str:
    return f"{run}.json"
