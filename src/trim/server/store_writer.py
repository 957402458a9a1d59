"""Writes to the usage store in a thread of its own: all that waits goes into one transaction.

The event loop never waits for the file. While another process holds a lock on it, or the disk is full, what is to be
written waits here, in order.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from typing import Generic, TypeVar

from trim.server.store_database import StoreDatabase, StoreUnavailable, Transaction

logger = logging.getLogger("trim.server")
_Result = TypeVar("_Result")
_MOST = 256  # jobs in a transaction
_EVERY = 0.1  # seconds after which what `before` has is written by itself
_PAUSE = 0.02  # seconds before a transaction that failed is tried again; doubled each time, up to
_LONGEST_PAUSE = 0.3
_LAST_SECONDS = 5.0  # how long to try at the end


class _Job(Generic[_Result]):
    """Something to write, and who waits for it."""

    def __init__(self, write: Callable[[Transaction], _Result]) -> None:
        self.future: Future[_Result] = Future()
        self._write = write
        self._result: list[_Result] = []
        self._error: Exception | None = None

    def run(self, db: Transaction, *, alone: bool) -> None:
        """Inside a transaction, once more if that failed. `alone`: what is wrong with the job undoes the job alone."""
        self._result, self._error = [], None
        if self.future.cancelled():
            return
        if not alone:
            self._result = [self._write(db)]
            return
        db.execute("SAVEPOINT job")
        try:
            self._result = [self._write(db)]
        except StoreUnavailable:  # not the job's fault
            raise
        except Exception as error:
            self._error = error
            db.execute("ROLLBACK TO SAVEPOINT job")
        db.execute("RELEASE SAVEPOINT job")

    def tell(self) -> None:
        """The transaction is written."""
        if self.future.set_running_or_notify_cancel():
            if self._error is not None:
                self.future.set_exception(self._error)
            elif self._result:
                self.future.set_result(self._result[0])


class StoreWriter:
    """A thread that runs jobs on a database, in the order in which they came.

    Args:
        database: which nothing else writes to.
        before: begins each transaction; told whether to look at what other processes have done.
        after: a transaction is written.
        waiting: whether `before` has something to write by itself.
        look: is called at least ten times a second, outside transactions.
    """

    def __init__(
        self,
        database: StoreDatabase,
        before: Callable[[Transaction, bool], object],
        after: Callable[[], object],
        waiting: Callable[[], bool],
        look: Callable[[], object],
    ) -> None:
        self.blocked = False  # the last try to write failed
        self._database = database
        self._before = before
        self._after = after
        self._waiting = waiting
        self._look = look
        self._jobs: queue.SimpleQueue[_Job[object] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="usage-store", daemon=True)
        self._thread.start()

    def submit(self, write: Callable[[Transaction], _Result]) -> Future[_Result]:
        """Write something. The future has what `write` returned once that is in the file; a job that is cancelled
        before it began does nothing.
        """
        job = _Job(write)
        self._jobs.put(job)  # type: ignore[arg-type]  # whatever it returns
        return job.future

    def close(self) -> None:
        """Write what is left, for some seconds at most."""
        self._closing.set()
        self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        ended = False
        while not ended:
            batch: list[_Job[object]] = []
            try:
                job = self._jobs.get(timeout=_EVERY)
                while job is not None:
                    batch.append(job)
                    if len(batch) == _MOST:
                        break
                    job = self._jobs.get_nowait()
                ended = job is None
            except queue.Empty:
                pass
            if batch or self._database.due or self._waiting():
                self._write_all(batch)
            self._look()

    def _write_all(self, batch: list[_Job[object]]) -> None:
        """One transaction, however long that takes."""
        give_up: float | None = None
        pause = _PAUSE
        while True:
            try:
                self._write(batch)
                break
            except StoreUnavailable as error:
                if not self.blocked:
                    logger.error("the usage store cannot be written now, what it is to have waits: %s", error)
                self.blocked = True
            except Exception:  # of a bug: the thread lives on, and tries again
                logger.exception("the usage store cannot be written now, what it is to have waits")
                self.blocked = True
            if self._closing.is_set():
                give_up = give_up or time.monotonic() + _LAST_SECONDS
                if time.monotonic() > give_up:
                    logger.error("%d entries were not written to the usage store", len(batch))
                    return
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        if self.blocked:
            logger.warning("the usage store can be written again")
            self.blocked = False
        for job in batch:
            job.tell()

    def _write(self, batch: list[_Job[object]]) -> None:
        """All at once; if one cannot be written, once more, so that the others are."""
        try:
            self._transaction(batch, alone=False)
        except StoreUnavailable:
            raise
        except Exception:
            self._transaction(batch, alone=True)

    def _transaction(self, batch: list[_Job[object]], *, alone: bool) -> None:
        exchange = self._database.begin()
        try:
            self._before(self._database, exchange)
            for job in batch:
                job.run(self._database, alone=alone)
            self._database.commit()
        except BaseException:
            self._database.rollback()
            raise
        self._after()
