"""`/metrics` for Prometheus, computed from the database when it is asked for, at most every few seconds."""

import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from console.system import reserve_bytes
from console.visit import Console
from core.files import free_bytes
from core.states import DeliveryState, JobState
from core.version import code_version
from records.alerts import count_open_alerts
from records.audit_search import find_last_verification
from records.database import Database
from records.figures import DestinationFigures, NodeFigures, find_node_figures, quantile
from records.processes import list_processes
from records.tables import Disposition

_FRESH_S = 5.0
_SHARES = (0.5, 0.95, 0.99)
_PREFIX = "ecg_node_"
_lock = threading.Lock()


def show_metrics(console: Console, request: Request, _form: Mapping[str, str]) -> Response:
    """The figures; however often it is scraped, the database is asked every five seconds at most."""
    with _lock:
        made, text = getattr(request.app.state, "metrics", (0.0, b""))
        if not text or time.monotonic() - made > _FRESH_S:
            text = _text(console)
            request.app.state.metrics = (time.monotonic(), text)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


def _text(console: Console) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Figures(console))
    return generate_latest(registry)


class _Figures(Collector):
    """One look at the node."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        figures = find_node_figures(self._console.database, list(self._console.settings.destinations))
        yield InfoMetricFamily(f"{_PREFIX}build", "Version of the node.", {"version": code_version()})
        yield from _work(figures)
        for build in (_delivery_states, _delivery_statuses):
            yield build(figures.destinations)
        yield from _destinations(figures.destinations)
        yield from _disk(self._console)
        yield from _trail(self._console.database)
        yield _processes(self._console.database)
        yield _alerts(self._console.database)


def _work(figures: NodeFigures) -> Iterator[Metric]:
    received = CounterMetricFamily(f"{_PREFIX}received", "Instances received.", labels=["disposition"])
    for disposition in Disposition:
        received.add_metric([disposition.value], figures.received.get(disposition.value, 0))
    yield received
    jobs = GaugeMetricFamily(f"{_PREFIX}jobs", "Analyses in each state.", labels=["state"])
    for state in JobState:
        jobs.add_metric([state.value], figures.jobs.get(state.value, 0))
    yield jobs
    yield _age("queue_age_seconds", "Age of the oldest ECG that waits for a worker.", figures.oldest_queued_s)
    yield _age("running_age_seconds", "Since when the longest analysis runs.", figures.oldest_running_s)
    yield _shares("step_seconds", "Time of each step over the last 500 answers.", "step", figures.step_seconds)
    sizes = {"claimed": [float(size) for size in figures.batch_sizes]}
    yield _shares("batch_size", "ECGs claimed together, over the last 500 analyses.", "what", sizes)


def _age(name: str, text: str, seconds: float | None) -> Metric:
    return GaugeMetricFamily(f"{_PREFIX}{name}", text, value=seconds or 0.0)


def _shares(name: str, text: str, label: str, values: Mapping[str, Sequence[float]]) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}{name}", text, labels=[label, "share"])
    for word, several in sorted(values.items()):
        for share in _SHARES:
            found = quantile(several, share)
            if found is not None:
                family.add_metric([word, str(share)], found)
    return family


def _delivery_states(destinations: Sequence[DestinationFigures]) -> Metric:
    family = GaugeMetricFamily(
        f"{_PREFIX}deliveries", "Deliveries by destination and state.", labels=["destination", "state"]
    )
    for one in destinations:
        for state in DeliveryState:
            family.add_metric([one.name, state.value], one.states.get(state.value, 0))
    return family


def _delivery_statuses(destinations: Sequence[DestinationFigures]) -> Metric:
    family = GaugeMetricFamily(
        f"{_PREFIX}delivery_statuses", "Deliveries by the PACS's last DIMSE status.", labels=["destination", "status"]
    )
    for one in destinations:
        for status, number in sorted(one.statuses.items()):
            family.add_metric([one.name, f"0x{status:04X}"], number)
    return family


def _destinations(destinations: Sequence[DestinationFigures]) -> Iterator[Metric]:
    label = ["destination"]
    age = GaugeMetricFamily(f"{_PREFIX}delivery_age_seconds", "Age of the oldest waiting delivery.", labels=label)
    failures = GaugeMetricFamily(f"{_PREFIX}destination_failures", "Tries in a row that found it away.", labels=label)
    paused = GaugeMetricFamily(f"{_PREFIX}destination_paused", "1 while a person has paused it.", labels=label)
    contact = GaugeMetricFamily(
        f"{_PREFIX}destination_contact_timestamp_seconds", "When it last took something.", labels=label
    )
    for one in destinations:
        age.add_metric([one.name], one.oldest_waiting_s or 0.0)
        failures.add_metric([one.name], one.failures)
        paused.add_metric([one.name], float(one.paused))
        if one.last_contact_at is not None:
            contact.add_metric([one.name], one.last_contact_at.timestamp())
    yield from (age, failures, paused, contact)


def _disk(console: Console) -> Iterator[Metric]:
    free, size = free_bytes(console.settings.data_dir)
    yield GaugeMetricFamily(f"{_PREFIX}disk_free_bytes", "Free bytes for the data folder.", value=free)
    yield GaugeMetricFamily(f"{_PREFIX}disk_size_bytes", "Size of its file system.", value=size)
    reserve = reserve_bytes(console.settings, size)
    yield GaugeMetricFamily(f"{_PREFIX}disk_reserve_bytes", "Below this nothing is accepted.", value=reserve)


def _trail(database: Database) -> Iterator[Metric]:
    last = find_last_verification(database)
    if last is None:
        return
    whole = float(last.fault is None)
    yield GaugeMetricFamily(f"{_PREFIX}trail_verified", "1 when the last verification found it whole.", value=whole)
    yield GaugeMetricFamily(f"{_PREFIX}trail_entries", "Entries that it found good.", value=last.entries)
    yield GaugeMetricFamily(
        f"{_PREFIX}trail_verified_timestamp_seconds", "When it was last verified.", value=last.at.timestamp()
    )


def _processes(database: Database) -> Metric:
    family = GaugeMetricFamily(
        f"{_PREFIX}process_silence_seconds", "Since when a process was not heard of.", labels=["kind", "process"]
    )
    for row, ago in list_processes(database):
        family.add_metric([row.kind, row.id], ago)
    return family


def _alerts(database: Database) -> Metric:
    family = GaugeMetricFamily(f"{_PREFIX}alerts_open", "Alerts that nobody has acknowledged.", labels=["kind"])
    for kind, number in count_open_alerts(database).items():
        family.add_metric([kind.value], number)
    return family
