"""Alembic's door: migrations run on the connection, and in the transaction, that `imaging.ledger.migrate` opened."""

from typing import Any, Literal

from alembic import context

from imaging.ledger.indexes import metadata
from imaging.ledger.tables import Instant


def render(kind: str, item: Any, _: Any) -> str | Literal[False]:
    """Migrations name plain types, so that they never change with the code."""
    return "sa.BigInteger()" if kind == "type" and isinstance(item, Instant) else False


context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_item=render,
    transactional_ddl=False,
)
context.run_migrations()
