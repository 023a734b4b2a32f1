"""The only clock that leases and back-offs are measured with: the database's."""

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session


def database_time(session: Session) -> datetime:
    """The database's clock, in UTC: the only clock that leases are measured with."""
    if session.get_bind().dialect.name == "sqlite":
        now: str = session.execute(text("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')")).scalar_one()
        return datetime.fromisoformat(now)
    return session.execute(text("SELECT clock_timestamp()")).scalar_one()  # type: ignore[no-any-return]
