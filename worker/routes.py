"""Where results go: each destination's rules against what came and what was said of it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select

from core.destinations import NOT_DIAGNOSTIC, Destination, Results, Rule, matches
from core.settings import Settings
from core.states import ReportKind
from core.values import LABELS, Judgement
from records.database import Database
from records.results import Route
from records.tables import DestinationState

# In the order in which they are preferred
SR_CLASSES = ("comprehensive3d", "comprehensive", "enhanced")

_KINDS: dict[Results, frozenset[ReportKind]] = {
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


@dataclass(frozen=True, slots=True)
class Subject:
    """What rules look at: where an ECG came from, and what was said of each of its frames."""

    calling_ae_title: str
    modality: str
    study_description: str
    judgements: tuple[Judgement, ...]


def choose_routes(routes: Sequence[Route], settings: Settings, subject: Subject) -> list[Route]:
    """The routes that this ECG's results take, each with the kinds that go there."""
    chosen = []
    for route in routes:
        destination = settings.destinations.get(route.destination)
        kinds = _kinds(destination, subject) if destination else route.kinds
        if kinds:
            chosen.append(replace(route, kinds=kinds))
    return chosen


def _kinds(destination: Destination, subject: Subject) -> frozenset[ReportKind]:
    if not destination.when:
        return _KINDS[destination.send]
    fitting = [_KINDS[rule.send or destination.send] for rule in destination.when if _fits(rule, subject)]
    return frozenset().union(*fitting)


def _fits(rule: Rule, subject: Subject) -> bool:
    return (
        matches(rule.calling_ae_titles, subject.calling_ae_title)
        and matches(rule.modalities, subject.modality)
        and matches(rule.study_descriptions, subject.study_description)
        and any(_fits_frame(rule, one) for one in subject.judgements)
    )


def _fits_frame(rule: Rule, judgement: Judgement) -> bool:
    """Label and probability are of one and the same frame."""
    said = judgement.label.value if judgement.label else NOT_DIAGNOSTIC
    if rule.labels and said not in rule.labels:
        return False
    if not rule.probability:
        return True
    if judgement.label is None or judgement.probabilities is None:
        return False
    shares = dict(zip(LABELS, judgement.probabilities, strict=True))
    return all(shares[label] >= least for label, least in rule.probability.items())
