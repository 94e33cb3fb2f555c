"""What an object stands for, and who sent what is kept apart."""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# As text, since Alembic has no words for a foreign key of a new column that SQLite would take.
_TO = "ALTER TABLE {0} ADD COLUMN {1}_id BIGINT CONSTRAINT fk_{0}_{1}_id REFERENCES {2} (id)"


def upgrade() -> None:
    """Brings a ledger of the revision before up to this one."""
    op.execute(_TO.format("object", "stands_for", "object"))
    op.create_index("ix_object_stands_for_id", "object", ["stands_for_id"])
    op.execute(_TO.format("conflict", "association", "association"))
