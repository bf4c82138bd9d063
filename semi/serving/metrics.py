"""What a service counts, in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest  # pyright: ignore[reportMissingImports]
from prometheus_client.platform_collector import PlatformCollector  # pyright: ignore[reportMissingImports]
from prometheus_client.process_collector import ProcessCollector  # pyright: ignore[reportMissingImports]

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class ServiceMetrics:
    """The counters of one service; two in a process do not share them."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        """Takes what tells how many utterances wait."""
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "semi_requests",
            "Requests, by address and status.",
            ["path", "status"],
            registry=registry,
        )
        self.seconds = Histogram(
            "semi_request_seconds", "From the first byte to the answer.", ["path"],
            buckets=SECONDS, registry=registry,
        )  # fmt: skip
        self.refused = Counter(
            "semi_refused", "Requests that were refused, by status.", ["status"], registry=registry
        )
        self.utterances = Counter("semi_utterances", "Utterances labelled.", registry=registry)
        self.unlabelled = Counter(
            "semi_unlabelled", "Utterances that could not be labelled.", registry=registry
        )
        self.batch_rows = Histogram(
            "semi_batch_rows", "Utterances labelled together.", buckets=(1, 2, 4, 8, 16, 32),
            registry=registry,
        )  # fmt: skip
        self.batch_seconds = Histogram(
            "semi_batch_seconds", "What a batch took.", buckets=SECONDS, registry=registry
        )
        Gauge("semi_queue_waiting", "Utterances that wait.", registry=registry).set_function(
            waiting
        )
        PlatformCollector(self.registry)
        ProcessCollector(registry=self.registry)

    def on_batch(self, rows: int, seconds: float) -> None:
        """Counts a batch that was labelled."""
        self.batch_rows.observe(rows)
        self.batch_seconds.observe(seconds)

    def on_request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request that was answered."""
        self.requests.labels(path, str(status)).inc()
        self.seconds.labels(path).observe(seconds)
        if status >= 400:
            self.refused.labels(str(status)).inc()

    def text(self) -> bytes:
        """Returns all of them as Prometheus reads them."""
        return generate_latest(self.registry)
