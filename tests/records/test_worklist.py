"""What people see of the records: the worklist, one ECG, the search in the trail, final reads."""

from collections.abc import Sequence

import pytest

from core.errors import Rejected
from core.states import EventKind, JobState
from core.values import Label
from records.audit_search import Search, export_trail, find_last_verification, search_trail, verify_and_record
from records.clock import database_time
from records.database import Database
from records.figures import find_node_figures, list_day_figures, list_models_in_use
from records.instances import record_received
from records.jobs import claim_jobs
from records.one_ecg import find_ecg, find_ecg_id
from records.reads import count_agreement, list_training_rows, record_read
from records.results import Route, record_answer
from records.worklist import Filters, list_calling_ae_titles, list_worklist
from tests.records.samples import answer, received


def _judged(
    database: Database, label: Label | None = Label.NORMAL, routes: Sequence[Route] = (), **given: object
) -> int:
    receipt = record_received(database, received(**given))
    (job,) = claim_jobs(database, "w", 1, 30.0, 3)
    record_answer(database, job, answer(label), routes)
    return receipt.ecg_id


def _listed(database: Database, **filters: object) -> list[int]:
    return [row.ecg_id for row in list_worklist(database, Filters(**filters)).rows]  # type: ignore[arg-type]


def test_pages_follow_each_other_by_key_without_gap_or_double(database: Database) -> None:
    ecgs = [_judged(database) for _ in range(7)]
    seen, before = [], None
    while True:
        page = list_worklist(database, Filters(), before, limit=3)
        seen += [row.ecg_id for row in page.rows]
        if page.older is None:
            break
        before = page.older
    assert seen == ecgs[::-1]


def test_urgent_ones_come_first_and_only_once_until_somebody_read_them(database: Database) -> None:
    infarction = _judged(database, Label.MYOCARDIAL_INFARCTION)
    stat = _judged(database, stat=True)
    others = [_judged(database) for _ in range(4)]
    assert _listed(database) == [stat, infarction, *others[::-1]]
    first = list_worklist(database, Filters(), limit=2)
    second = list_worklist(database, Filters(), first.older, limit=10)
    assert [row.ecg_id for row in first.rows] == [stat, infarction, *others[:1:-1]]
    assert [row.ecg_id for row in second.rows] == others[1::-1]
    job = find_ecg(database, infarction).jobs[0].job.id  # type: ignore[union-attr]
    record_read(database, job, Label.NORMAL, "", "anna")
    assert _listed(database) == [stat, *others[::-1], infarction]


def test_each_filter_leaves_what_it_names(database: Database) -> None:
    normal = _judged(database, calling_ae_title="ONE", patient_id="P_1", accession_number="A%1")
    abnormal = _judged(database, Label.ABNORMAL_HEARTBEAT, calling_ae_title="TWO", patient_id="PX1")
    waiting = record_received(database, received(calling_ae_title="TWO")).ecg_id
    assert _listed(database, label=Label.ABNORMAL_HEARTBEAT) == [abnormal]
    assert _listed(database, state=JobState.QUEUED) == [waiting]
    assert _listed(database, calling_ae_title="TWO") == [waiting, abnormal]
    assert _listed(database, patient_id="P_1") == [normal]
    assert _listed(database, patient_id="P_*") == [normal]  # an underscore is no wildcard
    assert _listed(database, patient_id="P?1") == [abnormal, normal]
    assert _listed(database, accession_number="A%*") == [normal]
    with database.reading() as session:
        now = database_time(session)
    assert _listed(database, since=now) == []
    assert _listed(database, until=now) == [waiting, abnormal, normal]
    assert list_calling_ae_titles(database) == ["ONE", "TWO"]


def test_an_object_that_was_kept_without_a_job_is_listed(database: Database) -> None:
    first = received()
    record_received(database, first)
    other = received(sop_instance_uid=first.sop_instance_uid)
    kept = record_received(database, other).ecg_id
    row = list_worklist(database, Filters()).rows[0]
    assert (row.ecg_id, row.state, row.disposition) == (kept, None, "conflict")
    assert find_ecg_id(database, first.sop_instance_uid) == kept - 1
    assert [one.id for one in find_ecg(database, kept).related] == [kept - 1]  # type: ignore[union-attr]


def test_earlier_ecgs_are_of_the_same_patient_id_and_an_empty_one_is_nobodys(database: Database) -> None:
    first = _judged(database, Label.ABNORMAL_HEARTBEAT, patient_id="P1")
    nobody = [_judged(database, patient_id="") for _ in range(2)]
    last = _judged(database, patient_id="P1")
    found = find_ecg(database, last)
    assert found is not None
    assert [(one.instance.id, one.label) for one in found.earlier] == [(first, "abnormal_heartbeat")]
    assert find_ecg(database, nobody[1]).earlier == []  # type: ignore[union-attr]


def test_the_trail_is_found_by_kind_actor_ecg_and_time(database: Database) -> None:
    ecgs = [_judged(database, calling_ae_title=f"CART{n}") for n in range(3)]
    kinds = [one.kind for one in search_trail(database, Search(ecg_id=ecgs[0])).entries]
    assert kinds == ["job_finished", "job_claimed", "instance_received"]
    by_actor = search_trail(database, Search(actor="CART1")).entries
    assert [one.ecg_id for one in by_actor] == [ecgs[1]]
    both = Search(kinds=[EventKind.JOB_CLAIMED, EventKind.JOB_FINISHED])
    assert [one.ecg_id for one in search_trail(database, both).entries] == [e for e in ecgs[::-1] for _ in "ab"]
    last = by_actor[0].at
    assert by_actor[0] in search_trail(database, Search(since=last, actor="CART1")).entries
    assert search_trail(database, Search(until=last, actor="CART1")).entries == []
    page = search_trail(database, Search(), limit=4)
    rest = search_trail(database, Search(), page.older)
    assert [one.seq for one in [*page.entries, *rest.entries]] == list(range(9, 0, -1))
    assert [one.seq for one in export_trail(database, Search())] == list(range(1, 10))


def test_a_verification_is_itself_in_the_trail(database: Database) -> None:
    _judged(database)
    assert find_last_verification(database) is None
    assert verify_and_record(database, "anna").fault is None
    last = find_last_verification(database)
    assert last is not None
    assert (last.actor, last.entries, last.fault) == ("anna", 3, None)


def test_a_final_read_stands_beside_the_answer_and_the_latest_counts(database: Database) -> None:
    ecg = _judged(database, Label.NORMAL)
    job = find_ecg(database, ecg).jobs[0].job.id  # type: ignore[union-attr]
    assert record_read(database, job, Label.NORMAL, "", "anna").agrees
    assert not record_read(database, job, None, "too noisy", "boris").agrees
    assert [(one.model_label, one.final_label, one.count) for one in count_agreement(database)] == [("normal", None, 1)]
    found = find_ecg(database, ecg)
    assert found is not None
    assert [one.reader for one in found.reads] == ["boris", "anna"]
    assert found.latest is not None
    assert found.latest.label == "normal"


def test_what_is_not_judged_yet_cannot_be_agreed_with(database: Database) -> None:
    receipt = record_received(database, received())
    with pytest.raises(Rejected, match="no answer yet"):
        record_read(database, receipt.job_id or 0, Label.NORMAL, "", "anna")


def test_a_training_row_is_made_of_a_picture_with_a_read(database: Database) -> None:
    _judged(database)
    assert list(list_training_rows(database)) == []


def test_figures_count_what_there_is(database: Database) -> None:
    with database.reading() as session:
        before = database_time(session)
    _judged(database, routes=[Route("pacs", frozenset({"sr", "heatmap"}), "comprehensive")])  # type: ignore[arg-type]
    record_received(database, received())
    with database.reading() as session:
        after = database_time(session)
    figures = find_node_figures(database, ["other"])
    assert figures.received == {"accepted": 2}
    assert figures.jobs == {"done": 1, "queued": 1}
    assert figures.oldest_queued_s is not None
    assert [(one.name, dict(one.states)) for one in figures.destinations] == [("other", {}), ("pacs", {"prepared": 2})]
    assert figures.batch_sizes == [1]
    assert [one.pictures for one in list_models_in_use(database)] == [1]
    (day,) = list_day_figures(database, [before, after.replace(year=after.year + 1)])
    assert (dict(day.labels), len(day.seconds)) == ({"normal": 1}, 1)
