"""SQLite's locks on the ledger's file last as long as its connections, whatever else the process opens."""

import subprocess
import sys
from pathlib import Path

import pytest

from imaging.ledger import migrate
from imaging.ledger.store import SQLITE_FILE, Ledger
from imaging.ledger.unusable import Unusable

IS_LOCKED = """
import fcntl, struct, sys
SHARED_FIRST, SHARED_SIZE = 0x40000002, 510  # https://www.sqlite.org/fileformat2.html#the_lock_byte_page
with open(sys.argv[1], "r+b") as file:
    wanted = struct.pack("hhqqi", fcntl.F_WRLCK, 0, SHARED_FIRST, SHARED_SIZE, 0)
    found = struct.unpack("hhqqi", fcntl.fcntl(file, fcntl.F_GETLK, wanted))
print(found[0] != fcntl.F_UNLCK)
"""


def is_locked(file: Path) -> bool:
    """Whether another process sees that a connection is open."""
    done = subprocess.run([sys.executable, "-c", IS_LOCKED, str(file)], capture_output=True, text=True, check=True)
    return done.stdout.strip() == "True"


def test_a_second_ledger_of_a_process_leaves_the_first_ones_locks_in_place(tmp_path: Path) -> None:
    first = Ledger(tmp_path)
    migrate.migrate(first)
    with first.read() as connection:
        connection.exec_driver_sql("SELECT count(*) FROM study")
        assert is_locked(tmp_path / SQLITE_FILE)
        second = Ledger(tmp_path)
        assert is_locked(tmp_path / SQLITE_FILE)
        second.close()
        assert is_locked(tmp_path / SQLITE_FILE)
    first.close()
    assert not is_locked(tmp_path / SQLITE_FILE)


def test_a_folder_in_the_ledgers_place_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    (tmp_path / SQLITE_FILE).mkdir()
    (tmp_path / SQLITE_FILE).chmod(0o755)
    with pytest.raises(Unusable, match="directory"):
        Ledger(tmp_path)
    assert (tmp_path / SQLITE_FILE).stat().st_mode & 0o777 == 0o755
