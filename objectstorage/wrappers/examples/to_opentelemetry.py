"""Operations as OpenTelemetry spans: `python -m objectstorage.wrappers.examples.to_opentelemetry`.

Needs the package `opentelemetry-sdk`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from objectstorage.errors import ErrNotExist
from objectstorage.memory import MemoryStorage
from objectstorage.wrappers import Event, ObservedStorage

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

__all__ = ["hook", "main"]


def hook(tracer: Tracer) -> Callable[[Event], None]:
    """A hook that makes a span of every operation, a child of the current one."""
    from opentelemetry.trace import SpanKind, Status, StatusCode

    def observe(event: Event) -> None:
        # The operation is over: its span is drawn back in time.
        end = time.time_ns()
        span = tracer.start_span(
            f"objectstorage {event.operation}",
            kind=SpanKind.CLIENT,
            start_time=end - int(event.seconds * 1e9),
            attributes={
                "objectstorage.storage": event.storage,
                "objectstorage.bytes": event.bytes,
                **({} if event.key is None else {"objectstorage.key": event.key}),
            },
        )
        if event.error is not None:
            span.record_exception(event.error)
            span.set_status(Status(StatusCode.ERROR, event.outcome))
        span.end(end)

    return observe


def main() -> list[str]:
    """Use a store; the names and outcomes of the spans."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    with ObservedStorage(MemoryStorage(), hook(provider.get_tracer("objectstorage"))) as store:
        store.put("a", b"hello")
        try:
            store.get("b")
        except ErrNotExist:
            pass
    return [f"{span.name}: {span.status.status_code.name}" for span in spans.get_finished_spans()]


if __name__ == "__main__":
    print("\n".join(main()))  # noqa: T201  # what it is for
