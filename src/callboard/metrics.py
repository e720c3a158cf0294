"""The numbers of one process, in Prometheus' terms (names: DESIGN.md, R31)."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
MAX_AGENT_LABELS = 2_000
OTHER_AGENTS = "other"

_RUN_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
_ACK_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0)


class Metrics:
    """All metrics, in a registry of their own, so that two of them can live in one process.

    The number of different agents in labels is bounded: later ones are counted under `other`, because each label value
    costs memory here and in every Prometheus that reads it, for ever.
    """

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self._agents: set[str] = set()
        self._runs = Counter("runs_total", "Runs that ended.", ["agent", "mode", "status"], registry=registry)
        self._run_seconds = Histogram(
            "run_duration_seconds",
            "Seconds from a run's request to its end.",
            ["agent", "mode"],
            buckets=_RUN_BUCKETS,
            registry=registry,
        )
        self._run_errors = Counter(
            "run_errors_total", "Attempts that failed, by error code.", ["agent", "code"], registry=registry
        )
        self._queued = Gauge("runs_queued", "Runs that wait for a slot.", ["mode", "lane"], registry=registry)
        self._running = Gauge("runs_running", "Runs that hold a slot.", ["mode"], registry=registry)
        self._dead_letters = Gauge("dead_letters", "Dead letters kept.", registry=registry)
        self._outbox_oldest = Gauge(
            "outbox_oldest_seconds", "Age of the oldest event not yet on the bus.", registry=registry
        )
        self._lease_losses = Counter("lease_losses_total", "Runs taken from a dead process.", registry=registry)
        self._slack_ack = Histogram(
            "slack_ack_seconds",
            "Seconds from Slack's request to our answer.",
            buckets=_ACK_BUCKETS,
            registry=registry,
        )
        self._llm_calls = Counter(
            "llm_calls_total",
            "Model calls that reached a provider.",
            ["provider", "model", "status"],
            registry=registry,
        )
        self._cost = Counter("cost_usd_total", "US dollars that model calls have cost.", ["agent"], registry=registry)
        self._breakers = Gauge(
            "llm_breaker_open",
            "1 while a failing model provider is left alone.",
            ["provider"],
            registry=registry,
        )

    def llm_call(self, *, provider: str, model: str, status: str) -> None:
        """A model call ended: `ok`, or with an error of that code."""
        self._llm_calls.labels(provider, model, status).inc()

    def spent(self, *, agent: str, usd: float) -> None:
        """Model calls for an agent have cost that much."""
        if usd > 0:
            self._cost.labels(self._agent_label(agent)).inc(usd)

    def set_breaker_open(self, *, provider: str, is_open: bool) -> None:
        """Whether the workers leave the provider (at its address) alone now."""
        self._breakers.labels(provider).set(is_open)

    def run_ended(self, *, agent: str, mode: str, status: str, seconds: float) -> None:
        """A run reached a terminal status, that long after it was asked for."""
        label = self._agent_label(agent)
        self._runs.labels(label, mode, status).inc()
        self._run_seconds.labels(label, mode).observe(seconds)

    def run_error(self, *, agent: str, code: str) -> None:
        """An attempt failed; `code` is a stable error code, never a message."""
        self._run_errors.labels(self._agent_label(agent), code).inc()

    def set_runs_queued(self, *, mode: str, lane: str, count: int) -> None:
        """How many runs wait in a lane now."""
        self._queued.labels(mode, lane).set(count)

    def set_runs_running(self, *, mode: str, count: int) -> None:
        """How many runs of a mode hold a slot now, in all processes."""
        self._running.labels(mode).set(count)

    def set_dead_letters(self, count: int) -> None:
        """How many dead letters are kept now."""
        self._dead_letters.set(count)

    def set_outbox_oldest(self, seconds: float) -> None:
        """The age of the oldest unpublished event; 0 when there is none."""
        self._outbox_oldest.set(seconds)

    def lease_lost(self, count: int = 1) -> None:
        """Runs were taken from a process that died."""
        self._lease_losses.inc(count)

    def slack_acked(self, seconds: float) -> None:
        """A request of Slack was answered after that time."""
        self._slack_ack.observe(seconds)

    def exposition(self) -> bytes:
        """The text that `GET /metrics` answers, of the content type `CONTENT_TYPE`."""
        return generate_latest(self._registry)

    def _agent_label(self, agent: str) -> str:
        if agent in self._agents:
            return agent
        if len(self._agents) >= MAX_AGENT_LABELS:
            return OTHER_AGENTS
        self._agents.add(agent)
        return agent
