"""Results are found by their name: sweep and retention ask which rows name a file."""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_NAMES = (
    ("report", "sha256"),
    ("classification", "picture_sha256"),
    ("classification", "thumbnail_sha256"),
    ("classification", "heat_sha256"),
)


def upgrade() -> None:
    for table, column in _NAMES:
        op.create_index(f"ix_{table}_{column}", table, [column])


def downgrade() -> None:
    for table, column in _NAMES:
        op.drop_index(f"ix_{table}_{column}", table)
