"""Which node an association belongs to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Brings a ledger of the revision before up to this one."""
    op.add_column("association", sa.Column("node", sa.Text(), server_default="", nullable=False))
