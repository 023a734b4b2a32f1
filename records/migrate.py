"""The schema's history, applied to a database."""

from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from core.errors import BadSettings
from records.database import Database

FOLDER = Path(__file__).resolve().parent.parent / "migrations"
# Any number, the same on every machine of a site: two nodes that start together migrate one after the other
_ADVISORY_LOCK = 0x_ECC0


def migrate(database: Database, revision: str = "head") -> str:
    """Bring the schema to `revision`; the revision reached. Safe to run from several machines at once."""
    with database.engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
            connection.commit()
        try:
            command.upgrade(_config(connection), revision)
            connection.commit()
        finally:
            if connection.dialect.name == "postgresql":
                connection.rollback()
                connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": _ADVISORY_LOCK})
                connection.commit()
        return find_revision(connection) or ""


def need_current_schema(database: Database) -> None:
    """Raise BadSettings unless the schema is the one that this code knows."""
    with database.engine.connect() as connection:
        found = find_revision(connection)
    wanted = ScriptDirectory(str(FOLDER)).get_current_head()
    if found != wanted:
        raise BadSettings(f"the database has schema {found or 'none'}, this version needs {wanted}: `ecg-node migrate`")


def is_known(revision: str) -> bool:
    """Whether this version's history has the revision."""
    return revision in {script.revision for script in ScriptDirectory(str(FOLDER)).walk_revisions()}


def is_on_the_way(found: str, revision: str) -> bool:
    """Whether a schema at `found` reaches `revision` by migrating upwards, or is there."""
    script = ScriptDirectory(str(FOLDER))
    return is_known(revision) and found in {one.revision for one in script.iterate_revisions(revision, "base")}


def find_revision(connection: Connection) -> str | None:
    """The schema's revision, None for an empty database."""
    return MigrationContext.configure(connection).get_current_revision()


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    attributes: dict[str, Any] = config.attributes
    attributes["connection"] = connection
    return config
