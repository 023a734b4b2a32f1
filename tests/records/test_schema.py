"""The migrations lead to exactly the tables that the code knows."""

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect

from records.database import Database
from records.migrate import migrate, need_current_schema
from records.tables import Base


def test_a_migrated_empty_database_equals_the_tables(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_every_named_check_of_the_tables_is_in_the_database(database: Database) -> None:
    inspector = inspect(database.engine)
    for table in Base.metadata.sorted_tables:
        known = {str(check.name) for check in table.constraints if type(check).__name__ == "CheckConstraint"}
        assert {check["name"] for check in inspector.get_check_constraints(table.name)} == known


def test_migrating_twice_changes_nothing(database: Database) -> None:
    assert migrate(database) == migrate(database)
    need_current_schema(database)
