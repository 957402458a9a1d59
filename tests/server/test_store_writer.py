"""What waits for the file is written in order, all at once, and one bad entry holds up no other."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from trim.server.sqlite_database import SqliteDatabase
from trim.server.store_database import Transaction
from trim.server.store_writer import StoreWriter


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.db"
    with closing(sqlite3.connect(made)) as db:
        db.execute("CREATE TABLE seen (number INTEGER)")
    return made


@pytest.fixture
def writer(path: Path) -> Iterator[StoreWriter]:
    database = SqliteDatabase(str(path))
    made = StoreWriter(database, lambda db, exchange: None, lambda: None, lambda: False, lambda: None)
    yield made
    made.close()
    database.close()


def insert(number: int) -> Callable[[Transaction], int]:
    def write(db: Transaction) -> int:
        db.execute("INSERT INTO seen VALUES (?)", (number,))
        return number

    return write


def seen(path: Path) -> list[int]:
    with closing(sqlite3.connect(path)) as db:
        return [number for (number,) in db.execute("SELECT number FROM seen ORDER BY rowid")]


def test_a_result_is_there_once_it_is_written(path: Path, writer: StoreWriter) -> None:
    futures = [writer.submit(insert(number)) for number in range(600)]
    assert [future.result(10) for future in futures] == list(range(600))
    assert seen(path) == list(range(600))


def test_what_is_wrong_with_one_undoes_that_one(path: Path, writer: StoreWriter) -> None:
    def wrong(db: Transaction) -> None:
        db.execute("INSERT INTO seen VALUES (99)")
        raise ValueError("wrong")

    writer.submit(insert(1))
    failed, last = writer.submit(wrong), writer.submit(insert(2))
    with pytest.raises(ValueError, match="wrong"):
        failed.result(10)
    last.result(10)
    assert seen(path) == [1, 2]


def test_a_lock_is_waited_for_and_what_is_cancelled_is_left_out(path: Path, writer: StoreWriter) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        first, second, third = (writer.submit(insert(number)) for number in (1, 2, 3))
        while not writer.blocked:
            time.sleep(0.01)
        assert second.cancel()
        assert not first.done()
        other.execute("ROLLBACK")
    third.result(10)
    assert seen(path) == [1, 3]
    assert not writer.blocked
