"""The files that a purge still has to delete."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Brings a ledger of the revision before up to this one."""
    op.create_table(
        "discarded", sa.Column("key", sa.Text(), nullable=False), sa.PrimaryKeyConstraint("key", name="pk_discarded")
    )
