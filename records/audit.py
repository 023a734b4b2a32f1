"""Proof that the trail is whole: every hash recomputed, every gap named, the tail held against a note kept apart."""

import hmac
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.orm import Session

from core.files import save_durably
from records.database import Database
from records.tables import TrailEvent
from records.trail import FIRST_HASH, chain_hash, find_head

NOTE_NAME = "trail.head"
_PAGE = 5000


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of a verification: `fault` names the first entry that does not hold, None when all do."""

    entries: int
    fault: str | None
    seq: int | None = None


def verify_trail(database: Database) -> Verdict:
    """Walk the whole chain; the first entry that was changed, removed or moved is named."""
    with database.reading() as session:
        seq, last = 0, FIRST_HASH
        noted = _read_note(database.data_dir)
        for row in _entries(session):
            if row.seq != seq + 1:
                return Verdict(seq, f"entry {seq + 1} is missing; the next one there is {row.seq}", seq + 1)
            expected = chain_hash(database.trail_key, _as_hashed(row), last)
            if not hmac.compare_digest(expected, row.hash):
                return Verdict(seq, f"entry {row.seq} was changed or stands in another's place", row.seq)
            seq, last = row.seq, row.hash
            if noted and noted[0] == seq and noted[1] != last:
                return Verdict(seq, f"entry {seq} is not the one that was noted outside the database", seq)
        head = find_head(session)
    if head != (seq, last):
        return Verdict(seq, f"the trail ends at entry {seq}, its head says {head[0]}: entries were cut off", seq + 1)
    if noted and noted[0] > seq:
        return Verdict(seq, f"the trail ends at entry {seq}, entry {noted[0]} was noted: entries were cut off", seq + 1)
    return Verdict(seq, None)


def _entries(session: Session) -> Iterator[TrailEvent]:
    after = 0
    while True:
        page = session.scalars(
            select(TrailEvent).where(TrailEvent.seq > after).order_by(TrailEvent.seq).limit(_PAGE)
        ).all()
        if not page:
            return
        yield from page
        after = page[-1].seq
        session.expunge_all()


def _as_hashed(row: TrailEvent) -> dict[str, object]:
    return {
        "seq": row.seq,
        "at": row.at,
        "kind": row.kind,
        "actor": row.actor,
        "ecg_id": row.ecg_id,
        "details": row.details,
    }


def note_head(database: Database) -> tuple[int, str]:
    """Write the head to a 0600 file outside the database, so that a cut tail shows; the head for a log line."""
    with database.reading() as session:
        seq, last = find_head(session)
    noted = _read_note(database.data_dir)
    if noted is None or noted[0] < seq:
        content = json.dumps({"seq": seq, "hash": last}).encode()
        save_durably(database.data_dir / NOTE_NAME, [content])
    return seq, last


def _read_note(data_dir: Path) -> tuple[int, str] | None:
    path = data_dir / NOTE_NAME
    if not path.exists():
        return None
    note = json.loads(path.read_text(encoding="ascii"))
    return int(note["seq"]), str(note["hash"])
