"""The figures that processes count while they work. docs/en/metrics.md lists them all.

prometheus_client keeps them in memory, or, where ``PROMETHEUS_MULTIPROC_DIR`` was set before it was imported,
in one file a process, which outlives the process; :mod:`chiasm.observe.scrape` adds them up.
"""

from prometheus_client import CollectorRegistry, Counter, Histogram

REQUEST_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
STEP_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
BATCH_BUCKETS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
COST_BUCKETS = (0.01, 0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters and histograms of one process, which may have one of these only. Thread-safe.

    Args:
        registry: where they can be read from; one of their own if left out.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._of_http()
        self._of_inputs()
        self._of_engine()
        self._of_library()

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=buckets, registry=self.registry)

    def _of_http(self) -> None:
        self.requests = self._counter(
            "chiasm_http_requests_total", "Requests answered.", "method", "route", "status"
        )
        self.request_seconds = self._histogram(
            "chiasm_http_request_duration_seconds",
            "From a request's headers to the head of its answer.",
            REQUEST_BUCKETS,
            "method",
            "route",
        )
        self.rejected = self._counter(
            "chiasm_http_rejected_total",
            "Requests answered with 429, 503 or 504, by the error's code.",
            "reason",
        )

    def _of_inputs(self) -> None:
        self.fetch_seconds = self._histogram(
            "chiasm_fetch_seconds", "Fetching what lies at an address.", STEP_BUCKETS
        )
        self.decode_seconds = self._histogram(
            "chiasm_decode_seconds", "Decoding one input of a request.", STEP_BUCKETS, "modality"
        )

    def _of_engine(self) -> None:
        kind = ("model", "modality")
        self.queue_seconds = self._histogram(
            "chiasm_queue_seconds", "A call's wait in the engine's queue.", STEP_BUCKETS, "model"
        )
        self.inference_seconds = self._histogram(
            "chiasm_inference_seconds", "Computing one batch.", STEP_BUCKETS, *kind
        )
        self.batch_items = self._histogram("chiasm_batch_items", "Items of one batch.", BATCH_BUCKETS, *kind)
        self.batch_cost = self._histogram("chiasm_batch_cost", "Cost of one batch.", COST_BUCKETS, *kind)
        self.cache_hits = self._counter(
            "chiasm_cache_hits_total", "Items whose vector was in the cache.", *kind
        )
        self.cache_misses = self._counter(
            "chiasm_cache_misses_total", "Items whose vector was not in the cache.", *kind
        )
        self.items = self._counter("chiasm_processed_items_total", "Items computed.", *kind)
        self.failed_items = self._counter("chiasm_failed_items_total", "Items that failed.", "model")
        self.tokens = self._counter(
            "chiasm_processed_tokens_total", "Tokens computed, of texts and of words heard.", *kind
        )
        self.pixels = self._counter("chiasm_processed_pixels_total", "Pixels computed.", *kind)
        self.media_seconds = self._counter(
            "chiasm_processed_media_seconds_total", "Seconds of sound computed.", *kind
        )

    def _of_library(self) -> None:
        self.library_seconds = self._histogram(
            "chiasm_library_call_seconds", "Calls to the library process.", STEP_BUCKETS, "method"
        )
