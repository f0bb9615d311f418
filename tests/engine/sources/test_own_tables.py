"""Tables of a program's own stand in the ledger's file, whole or not at all."""

import threading
from pathlib import Path
from sqlite3 import Connection, IntegrityError

import pytest

from engine import OwnTables, WorkFolderError
from engine.ledger.writer import Ledger
from tests.engine.toys import query

SCHEMA = "CREATE TABLE IF NOT EXISTS wishes (name TEXT PRIMARY KEY)"


@pytest.fixture
def workdir(tmp_path: Path) -> Path:
    Ledger(tmp_path / "penstock.db").close()
    return tmp_path


def put(name: str, db: Connection) -> str:
    db.execute("INSERT INTO wishes VALUES (?)", (name,))
    return name


def count(db: Connection) -> int:
    return int(db.execute("SELECT count(*) FROM wishes").fetchone()[0])


def test_what_many_write_at_once_stands(workdir: Path) -> None:
    """Beside a ledger that is written too; what one of them does wrong is its own affair."""
    tables, ledger = OwnTables(workdir, SCHEMA), Ledger(workdir / "penstock.db")
    wrong: list[str] = []

    def write(name: str) -> None:
        try:
            assert tables.write(lambda db: put(name, db)) == name
        except IntegrityError:
            wrong.append(name)

    names = [f"wish {number % 30}" for number in range(40)]
    threads = [threading.Thread(target=write, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    ledger.start_run("toy", {}, {})
    for thread in threads:
        thread.join()
    assert len(wrong) == 10
    assert tables.read(count) == 30
    tables.close()
    ledger.close()
    assert query(workdir, "SELECT count(*) FROM wishes") == [(30,)]
    OwnTables(workdir, SCHEMA).close()


def test_a_folder_without_a_ledger_has_none(tmp_path: Path) -> None:
    with pytest.raises(WorkFolderError, match="not a work folder"):
        OwnTables(tmp_path, SCHEMA)
