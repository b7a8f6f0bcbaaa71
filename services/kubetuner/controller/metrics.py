"""What Prometheus may read: controller-runtime's names, so that its dashboards fit, and some of our own. Never a label of a run's name."""

from __future__ import annotations

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector

_NAME: Final = "trainingrun"
_FINE: Final = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_COARSE: Final = (1, 5, 15, 60, 300, 900, 3600, 14400, 43200, 86400, 259200, 604800)
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All figures of one controller."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        kept = self.registry
        ProcessCollector(registry=kept)
        one = ("controller",)
        self._reconciles = Counter("controller_runtime_reconcile_total", "Reconciliations", (*one, "result"), registry=kept)
        self._errors = Counter("controller_runtime_reconcile_errors_total", "Reconciliations that failed", one, registry=kept)
        self._seconds = Histogram(
            "controller_runtime_reconcile_time_seconds", "Time of a reconciliation", one, registry=kept, buckets=_FINE
        )
        self._active = Gauge("controller_runtime_active_workers", "Workers at work", one, registry=kept)
        self._depth = Gauge("workqueue_depth", "Keys that wait", ("name",), registry=kept)
        self._adds = Counter("workqueue_adds_total", "Keys added", ("name",), registry=kept)
        self._retries = Counter("workqueue_retries_total", "Keys that came back after a fault", ("name",), registry=kept)
        self._waited = Histogram("workqueue_queue_duration_seconds", "Time a key waited", ("name",), registry=kept, buckets=_FINE)
        self._worked = Histogram("workqueue_work_duration_seconds", "Time a key was worked on", ("name",), registry=kept, buckets=_FINE)
        self._calls = Counter("rest_client_requests_total", "Calls of the API server", ("method", "code"), registry=kept)
        self._call_seconds = Histogram("rest_client_request_duration_seconds", "Time of a call", ("verb",), registry=kept, buckets=_FINE)
        self._verbs = Counter(
            "kubetuner_api_calls_total", "Calls of the API server by what they are for", ("verb", "resource"), registry=kept
        )
        self._rpcs = Counter("grpc_server_handled_total", "Calls of RunService that ended", ("grpc_method", "grpc_code"), registry=kept)
        self._rpc_seconds = Histogram(
            "grpc_server_handling_seconds", "Time of a call of RunService", ("grpc_method",), registry=kept, buckets=_FINE
        )
        self._leader = Gauge("leader_election_master_status", "1 where this process leads", ("name",), registry=kept)
        self._runs = Gauge("kubetuner_runs", "Runs by phase", ("phase",), registry=kept)
        self._stages = Counter("kubetuner_stages_total", "Stages that ended", ("stage", "result"), registry=kept)
        self._stage_seconds = Histogram("kubetuner_stage_seconds", "Time of a stage", ("stage",), registry=kept, buckets=_COARSE)
        self._retried = Counter("kubetuner_stage_retries_total", "Attempts after the first", ("stage", "reason"), registry=kept)
        self._relists = Counter("kubetuner_watch_relists_total", "Lists after the first", ("kind",), registry=kept)

    def text(self) -> bytes:
        """All of it in Prometheus' text form."""
        return generate_latest(self.registry)

    def call(self, verb: str, resource: str, method: str, code: str, seconds: float) -> None:
        """A call of the API server ended."""
        self._calls.labels(method, code).inc()
        self._verbs.labels(verb, resource).inc()
        if verb != "watch":
            self._call_seconds.labels(verb).observe(seconds)

    def rpc(self, method: str, code: str, seconds: float) -> None:
        """A call of RunService ended."""
        self._rpcs.labels(method, code).inc()
        self._rpc_seconds.labels(method).observe(seconds)

    def reconciled(self, result: str, seconds: float) -> None:
        """A reconciliation ended: `success`, `requeue_after`, `requeue` or `error`."""
        self._reconciles.labels(_NAME, result).inc()
        self._seconds.labels(_NAME).observe(seconds)
        self._worked.labels(_NAME).observe(seconds)
        if result == "error":
            self._errors.labels(_NAME).inc()

    def working(self, count: int) -> None:
        """One worker more (1) or less (-1) is at work."""
        self._active.labels(_NAME).inc(count)

    def waited(self, seconds: float) -> None:
        """A key waited so long for its worker."""
        self._waited.labels(_NAME).observe(seconds)
        self._adds.labels(_NAME).inc()

    def retried(self) -> None:
        """A key comes back after a fault."""
        self._retries.labels(_NAME).inc()

    def depth(self, count: int) -> None:
        """So many keys wait."""
        self._depth.labels(_NAME).set(count)

    def leads(self, leads: bool) -> None:
        """Whether this process leads."""
        self._leader.labels("kubetuner-controller").set(int(leads))

    def runs(self, phases: dict[str, int]) -> None:
        """Runs by phase, now."""
        self._runs.clear()
        for phase, count in phases.items():
            self._runs.labels(phase or "Pending").set(count)

    def stage_ended(self, stage: str, result: str, seconds: float) -> None:
        """A stage ended: `Succeeded`, `Skipped` or `Failed`."""
        self._stages.labels(stage, result).inc()
        if seconds > 0:
            self._stage_seconds.labels(stage).observe(seconds)

    def stage_retried(self, stage: str, reason: str) -> None:
        """A stage is begun again."""
        self._retried.labels(stage, reason).inc()

    def relisted(self, kind: str) -> None:
        """A reflector had to list again."""
        self._relists.labels(kind).inc()
