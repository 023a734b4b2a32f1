"""Where results go."""

from sqlalchemy import select

from core.settings import Settings
from core.states import ReportKind
from records.database import Database
from records.results import Route
from records.tables import DestinationState

# In the order in which they are preferred
SR_CLASSES = ("comprehensive3d", "comprehensive", "enhanced")

_KINDS = {
    "sr": frozenset({ReportKind.SR}),
    "heatmap": frozenset({ReportKind.HEATMAP}),
    "both": frozenset(ReportKind),
}


def find_routes(settings: Settings, database: Database) -> list[Route]:
    """A route for each destination; its SR class is empty until the destination was asked."""
    with database.reading() as session:
        learnt = {row.name: row.sr_class for row in session.scalars(select(DestinationState))}
    return [
        Route(
            destination=name,
            kinds=_KINDS[destination.send],
            sr_class=learnt.get(name, "") if destination.sr_class == "auto" else destination.sr_class,
        )
        for name, destination in settings.destinations.items()
    ]
