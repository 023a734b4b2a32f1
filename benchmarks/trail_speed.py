"""How long a million events of the trail take to verify, on SQLite: goal under a minute."""

import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import insert, update

from core.settings import Settings
from core.states import EventKind
from records.audit import verify_trail
from records.database import Database, open_database
from records.migrate import migrate
from records.tables import TrailEvent, TrailHead
from records.trail import FIRST_HASH, canonical, chain_hash

EVENTS, PAGE, GOAL_S = 1_000_000, 10_000, 60.0


def fill(database: Database) -> None:
    """A chain as a year of a busy site leaves it, written a page at a time."""
    kinds, before, began = list(EventKind), FIRST_HASH, datetime(2026, 1, 1, tzinfo=UTC)
    for start in range(1, EVENTS + 1, PAGE):
        rows = []
        for seq in range(start, start + PAGE):
            at = (began + timedelta(seconds=30 * seq)).isoformat(timespec="milliseconds")
            details = canonical({"job_id": seq, "sop_instance_uid": f"1.2.826.0.1.3680043.{seq}", "attempt": 1})
            row = {"seq": seq, "at": at, "kind": kinds[seq % len(kinds)].value, "actor": "CART", "ecg_id": seq}
            row["details"] = details
            before = chain_hash(database.trail_key, row, before)
            rows.append({**row, "hash": before})
        with database.engine.begin() as connection:
            connection.execute(insert(TrailEvent), rows)
    with database.engine.begin() as connection:
        connection.execute(update(TrailHead).values(seq=EVENTS, hash=before))


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Settings(data_dir=Path(folder), demo=True))
        migrate(database)
        fill(database)
        began = time.perf_counter()
        verdict = verify_trail(database)
        took_s = time.perf_counter() - began
        database.close()
    assert verdict.fault is None
    assert verdict.entries == EVENTS
    reached = "reached" if took_s < GOAL_S else "not reached"
    print(f"{EVENTS} events verified in {took_s:.1f} s, {took_s / GOAL_S:.2f} of the goal of {GOAL_S:g} s: {reached}")


if __name__ == "__main__":
    main()
