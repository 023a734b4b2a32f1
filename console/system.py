"""The system: processes, queues, disk, destinations."""

from starlette.responses import Response

from console.visit import Visit
from core.files import free_bytes
from core.settings import Settings
from records.figures import find_node_figures, quantile
from records.processes import list_processes

SILENT_AFTER_S = 30.0
PARTS = ("listen", "work", "send")


def reserve_bytes(settings: Settings, size: int) -> int:
    """Free bytes below which nothing is accepted."""
    return max(settings.disk_reserve_bytes, int(size * settings.disk_reserve_fraction))


def show(visit: Visit) -> Response:
    """What runs, what waits, what is full."""
    free, size = free_bytes(visit.settings.data_dir)
    processes = list_processes(visit.database)
    alive = {row.kind for row, ago in processes if ago <= SILENT_AFTER_S}
    return visit.page(
        "system.html",
        title="System",
        figures=find_node_figures(visit.database, list(visit.settings.destinations)),
        configured=visit.settings.destinations,
        processes=processes,
        missing=[part for part in PARTS if part not in alive],
        silent_after=SILENT_AFTER_S,
        quantile=quantile,
        free=free,
        size=size,
        reserve=reserve_bytes(visit.settings, size),
        database_kind=visit.database.engine.dialect.name,
    )
