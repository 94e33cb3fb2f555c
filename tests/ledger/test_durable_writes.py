"""What a commit waits for: the disk where somebody is told, and nothing where it would only be done again."""

import pytest

from imaging.ledger.store import Ledger


def waits_for_the_disk(ledger: Ledger, *, is_durable: bool) -> bool:
    """As the database itself says it within a transaction."""
    with ledger.write(is_durable=is_durable) as connection:
        if ledger.is_sqlite:
            return bool(connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2)  # FULL; 1: NORMAL
        return bool(connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on")


@pytest.mark.parametrize("order", [(True, False, True), (False, False, True), (False, True, False)])
def test_a_write_waits_for_the_disk_unless_it_says_that_it_need_not_whatever_came_before(
    ledger: Ledger, order: tuple[bool, ...]
) -> None:
    assert tuple(waits_for_the_disk(ledger, is_durable=each) for each in order) == order


def test_what_need_not_wait_is_seen_by_others_at_once(ledger: Ledger) -> None:
    with ledger.write(is_durable=False) as connection:
        connection.exec_driver_sql("INSERT INTO meta (key, value) VALUES ('seen', 'yes')")
    with ledger.read() as connection:
        assert connection.exec_driver_sql("SELECT value FROM meta WHERE key = 'seen'").scalar_one() == "yes"
