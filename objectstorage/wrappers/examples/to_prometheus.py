"""Operations as Prometheus metrics: `python -m objectstorage.wrappers.examples.to_prometheus`.

Needs the package `prometheus-client`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from objectstorage.memory import MemoryStorage
from objectstorage.wrappers import Event, ObservedStorage

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

__all__ = ["hook", "main"]


def hook(registry: CollectorRegistry) -> Callable[[Event], None]:
    """A hook that counts into `registry`: operations, their bytes, their durations."""
    from prometheus_client import Counter, Histogram

    # No keys: a label with as many values as there are objects fills the memory.
    labels = ("operation", "outcome")
    durations = Histogram(
        "objectstorage_operation_seconds", "Time in the store", labels, registry=registry
    )
    sizes = Counter("objectstorage_bytes", "Bytes of objects moved", labels, registry=registry)

    def observe(event: Event) -> None:
        durations.labels(event.operation, event.outcome).observe(event.seconds)
        sizes.labels(event.operation, event.outcome).inc(event.bytes)

    return observe


def main() -> str:
    """Use a store; what Prometheus would scrape."""
    from prometheus_client import CollectorRegistry, generate_latest

    registry = CollectorRegistry()
    with ObservedStorage(MemoryStorage(), hook(registry)) as store:
        store.put("a", b"hello")
        store.get("a")
        store.exists("b")
    return generate_latest(registry).decode()


if __name__ == "__main__":
    print(main())  # noqa: T201  # what it is for
