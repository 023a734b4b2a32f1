"""The only clock that leases and back-offs are measured with: the database's."""

from datetime import datetime

from sqlalchemy.orm import Session

_SQLITE_NOW = "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')"


def database_time(session: Session) -> datetime:
    """The database's clock, in UTC: the only clock that leases are measured with."""
    connection = session.connection()
    if connection.dialect.name == "sqlite":
        now: str = connection.exec_driver_sql(_SQLITE_NOW).scalar_one()
        return datetime.fromisoformat(now)
    return connection.exec_driver_sql("SELECT clock_timestamp()").scalar_one()  # type: ignore[no-any-return]
