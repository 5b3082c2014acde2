"""The thread that writes to the SQLite log: group commit and retention."""

from __future__ import annotations

import contextlib
import copy
import logging
import queue
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, NamedTuple, TypeVarTuple

from riptide.errors import LogUnavailableError, UncertainAppendError
from riptide.process.faults import Faults
from riptide.storage.append_transaction import AppendTransaction
from riptide.storage.checkpoints import Checkpoints
from riptide.storage.disk_room import explain, is_full, primary_code
from riptide.storage.expired_messages import find_live_topics, find_newest
from riptide.storage.free_space import FreeSpace
from riptide.storage.live_topics import LiveTopics
from riptide.storage.log_watch import PROBE_INTERVAL_S, AppendsUnderWay, ThreadWatch
from riptide.storage.message_log import RETRY_AFTER_S, uncertain
from riptide.storage.places import Places
from riptide.storage.step import Step
from riptide.storage.topic_names import TopicNames
from riptide.storage.transaction import OutcomeUnknownError, may_be_of_one_topic
from riptide.storage.trim import Trim
from riptide.storage.unindexed_messages import load_places
from riptide_telemetry import ServicePart

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from riptide.publication import Publication
    from riptide.storage.feeds import Feeds
    from riptide.storage.message_log import Answer, Retention
    from riptide.storage.sqlite_file import SqliteFile

logger = logging.getLogger("riptide.log")

Arguments = TypeVarTuple("Arguments")

COMMIT_MESSAGES = 10_000
TRIM_INTERVAL_S = 5.0
# All that waits for the end of a sound disk's work takes less.
STOP_PATIENCE_S = 15.0
# The files of the log are looked at so often, besides before and after each commit.
LOOK_INTERVAL_S = 1.0

# Errors of one topic's rows: its pages are damaged, or contradict each other.
_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CONSTRAINT})


def _not_kept(reason: object) -> LogUnavailableError:
    return LogUnavailableError(
        f"the message could not be kept ({reason}) and was not published; try again later, and "
        "tell the operator to look at the log's disk",
        retry_after=RETRY_AFTER_S,
    )


def _written_elsewhere(reason: str) -> UncertainAppendError:
    return UncertainAppendError(
        f"the message was written to a file that is not in its place any more ({reason}): it is "
        "lost, unless that file comes back; read the topic before you publish it again, and tell "
        "the operator",
        retry_after=RETRY_AFTER_S,
    )


class Append(NamedTuple):
    """A publication to commit, and who waits for the ids that its messages get."""

    publication: Publication
    done: Answer


class SqliteWriter:
    """Commits all appends that wait in one transaction, and trims between commits."""

    def __init__(
        self, file: SqliteFile, retention: Retention, feeds: Feeds, faults: Faults | None = None
    ) -> None:
        self._faults = faults or Faults()
        self.checkpoints = Checkpoints(file, self._faults)
        self.free_space = FreeSpace()
        # Why the thread takes no more appends, once that is so.
        self._ended: str | None = None
        self._watch = ThreadWatch("a write")
        self._under_way = AppendsUnderWay()
        self._next_probe = 0.0
        self._file = file
        self._retention = retention
        self._feeds = feeds
        self._epoch = ""
        # For readers as well, which look there first.
        self.places = Places()
        # Of the topics that have messages; for all threads as well.
        self.names = TopicNames()
        self._queue: queue.SimpleQueue[Append | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        # Appends that the thread has taken from the queue and not answered yet.
        self._taken: list[Append] = []

    def start(self) -> None:
        """Connect to the file, and start the thread.

        Raises:
            sqlite3.Error: the file cannot be opened or read.

        """
        self._epoch = self._file.epoch
        of_checkpoints, connection = self._file.connect(), self._file.connect()
        load_places(self.places, connection, self._file.damage)
        newest_at = find_newest(connection)
        if newest_at is not None:
            self._retention.continue_from(newest_at)
        live = LiveTopics(self._retention, find_live_topics(connection, self.places))
        self.names = live.names
        self._transaction = AppendTransaction(self._file, self._retention, live, self.places)
        self._trimming = Trim(self._file, self._retention, live, self.places)
        self._thread = threading.Thread(
            target=self._run, args=[connection], name="riptide-log-writer", daemon=True
        )
        self.checkpoints.start(of_checkpoints)
        self._thread.start()

    def stop(self) -> bool:
        """Commit the appends that wait and end the threads; blocks until then.

        Returns False if the disk hangs, and a thread with it, for ``STOP_PATIENCE_S``.
        """
        if self._thread is None:
            return True
        deadline = time.monotonic() + STOP_PATIENCE_S
        self._queue.put(None)
        self._thread.join(STOP_PATIENCE_S)
        if self._thread.is_alive():
            return False
        return self.checkpoints.stop(deadline - time.monotonic())

    def put(self, append: Append) -> None:
        """Queue an append for the next commit.

        If the thread has failed, or another append has waited too long, refuse it.
        """
        stalled = self._under_way.reason()
        if stalled is not None:
            _refuse([append], _not_kept(stalled))
            return
        self._under_way.begin()
        self._queue.put(append)
        if self._ended is not None:
            self._refuse_waiting(self._ended)

    def failure(self) -> str | None:
        """Return why the log takes no messages: that the thread failed, hangs, or failed to commit.

        The service is not ready meanwhile. It does not take a publisher to find that the log takes
        messages again: without appends, the thread commits a probe now and then.
        """
        failure = self._ended or self._file.files.displaced or self._under_way.reason()
        return failure or self._watch.reason() or self.checkpoints.failure()

    def oldest_append_age_s(self) -> float:
        """Return how long the oldest append has waited, or other work of the thread has taken."""
        return max(self._under_way.age_s(), self._watch.age_s())

    def append_stall_s(self) -> float:
        """Return the longest time of the last minute in which appends waited for an answer."""
        return self._under_way.longest_stall_s()

    def _run(self, connection: sqlite3.Connection) -> None:
        try:
            self._work(connection)
        except BaseException as error:  # noqa: BLE001  # whatever it was, publishers wait for an answer
            self._ended = f"its writer failed ({type(error).__name__})"
            self._faults.report(ServicePart.LOG_WRITER, error)
            self._under_way.end(len(self._taken))
            _call_on_loop(self._taken, _refuse, uncertain(self._ended))
            self._refuse_waiting(self._ended)
        finally:
            self._file.files.look(connection)
            connection.close()

    def _work(self, connection: sqlite3.Connection) -> None:
        next_trim, trimming = time.monotonic(), False
        self._next_probe = next_trim + PROBE_INTERVAL_S
        running = True
        while running:
            wait_s = min(LOOK_INTERVAL_S, min(next_trim, self._next_probe) - time.monotonic())
            running = self._wait_for_appends(wait_s)
            with self._watch.busy():
                displaced = self._file.files.look(connection)
                if self._taken:
                    if displaced is None:
                        self._commit(connection, self._taken)
                    else:
                        _call_on_loop(self._taken, _refuse, _not_kept(displaced))
                    self._under_way.end(len(self._taken))
                    self._taken = []
                if displaced is not None:
                    continue
                if time.monotonic() >= self._next_probe:
                    self._commit(connection, [])
                if self.places.are_many():
                    self._write_places(connection, Step(self._appends_wait))
                gave_back = False
                if time.monotonic() >= next_trim:
                    if not trimming:
                        self._trimming.begin_round()
                    trimming = self._trim(connection)
                    gave_back = not trimming and self._give_back(connection)
                    next_trim = time.monotonic() + (0 if trimming or gave_back else TRIM_INTERVAL_S)
                self.checkpoints.between_commits(connection, gave_back=gave_back)
        self._write_places(connection)

    def _write_places(self, connection: sqlite3.Connection, step: Step | None = None) -> None:
        # They are in memory as well, and what a crash takes from there is found again.
        with contextlib.suppress(sqlite3.Error):
            self.places.write_some(connection, step)

    def _appends_wait(self) -> bool:
        return not self._queue.empty()

    def _wait_for_appends(self, timeout: float) -> bool:
        """Take the appends that come before the timeout (seconds); return whether more may come."""
        message_count = 0
        try:
            append = self._queue.get(timeout=max(0.0, timeout))
            while append is not None:
                self._taken.append(append)
                message_count += len(append.publication.payloads)
                if message_count >= COMMIT_MESSAGES:
                    return True
                append = self._queue.get_nowait()
        except queue.Empty:
            return True
        return False

    def _refuse_waiting(self, reason: str) -> None:
        """Refuse the appends in the queue, which nobody takes from it any more."""
        waiting: list[Append] = []
        with contextlib.suppress(queue.Empty):
            while True:
                append = self._queue.get_nowait()
                if append is not None:
                    waiting.append(append)
        self._under_way.end(len(waiting))
        _call_on_loop(waiting, _refuse, _not_kept(reason))

    def _commit(self, connection: sqlite3.Connection, appends: list[Append]) -> None:
        """Commit the appends; without any, a probe, which shows that the disk takes commits."""
        try:
            firsts = self._write_on_any_disk(connection, [append.publication for append in appends])
        except Exception as error:  # noqa: BLE001  # whatever it was, publishers wait for an answer
            topics = {append.publication.topic for append in appends}
            if len(topics) > 1 and may_be_of_one_topic(error):
                for topic in topics:
                    self._commit(connection, [a for a in appends if a.publication.topic == topic])
            else:
                self._refuse_commit(appends, error)
        else:
            if self._watch.failure is not None:
                logger.info("the message log takes messages again")
            self._watch.failure = None
            self._trimming.lacks_room = False
            displaced = self._file.files.look(connection)
            if displaced is None:
                _call_on_loop(appends, self._acknowledge, firsts)
            else:
                _call_on_loop(appends, _refuse, _written_elsewhere(displaced))
        self._next_probe = time.monotonic() + PROBE_INTERVAL_S

    def _acknowledge(self, appends: list[Append], firsts: list[int | None]) -> None:
        """Answer the appends, in order, and serve the feeds, on the event loop."""
        kept = []
        for (publication, done), first in zip(appends, firsts, strict=True):
            if first is not None:
                receipt = publication.receipt(self._epoch, first)
                kept.append((publication, receipt))
                if not done.done():
                    done.set_result(receipt)
            elif not done.done():
                done.set_exception(self._retention.no_more_topics())
        self._feeds.push_soon(kept)

    def _write_on_any_disk(
        self, connection: sqlite3.Connection, publications: Sequence[Publication]
    ) -> list[int | None]:
        self.checkpoints.require_bound()
        try:
            return self._transaction.write(connection, publications)
        except (sqlite3.Error, OSError) as error:
            if not is_full(error) or not self._file.make_room(connection):
                raise
        return self._transaction.write(connection, publications)

    def _refuse_commit(self, appends: list[Append], error: Exception) -> None:
        reason, unknown = explain(error), isinstance(error, OutcomeUnknownError)
        if appends and _is_damage(error):
            logger.error(
                "the log of topic %s is damaged, and %d appends to it were refused: %s",
                appends[0].publication.topic,
                len(appends),
                reason,
            )
        else:
            if appends:
                logger.error("the message log refused %d appends: %s", len(appends), reason)
            elif self._watch.failure is None:
                logger.error("the message log takes no messages: %s", reason)
            self._watch.failure = reason
            self._trimming.lacks_room = is_full(error)
        if not isinstance(error, sqlite3.Error | OSError | OutcomeUnknownError):
            self._faults.report(ServicePart.LOG_WRITER, error)
        _call_on_loop(appends, _refuse, uncertain(reason) if unknown else _not_kept(reason))

    def _trim(self, connection: sqlite3.Connection) -> bool:
        """Delete some expired messages; return whether more are left."""
        if self.checkpoints.is_beyond_bound():
            # Deletions, too, would let the write-ahead log grow.
            return False
        more = self._trimming.step(connection, self._appends_wait)
        if not more:
            self._transaction.forget_heads()
        return more

    def _give_back(self, connection: sqlite3.Connection) -> bool:
        """Give some room that deletions have left to the disk; return whether there may be more."""
        # That, too, goes by way of the write-ahead log, which must not grow for it.
        if self._trimming.lacks_room or self.checkpoints.is_held_back():
            return False
        try:
            return self.free_space.give_back(
                connection, Step(self._appends_wait), self._file.wal_limits()[0]
            )
        except sqlite3.Error as error:
            logger.warning("free room in the database could not be given back: %s", explain(error))
            return False


def _is_damage(error: Exception) -> bool:
    """Return whether an error is of one topic, while the log is well."""
    return isinstance(error, sqlite3.Error) and primary_code(error) in _DAMAGE


def _call_on_loop(
    appends: list[Append],
    function: Callable[[list[Append], *Arguments], None],
    *arguments: *Arguments,
) -> None:
    """Call a function with the appends on their event loop, if there are any."""
    if not appends:
        return
    try:
        appends[0].done.get_loop().call_soon_threadsafe(function, appends, *arguments)
    except RuntimeError:
        logger.warning("%d appends ended after the event loop did", len(appends))


def _refuse(appends: list[Append], error: LogUnavailableError) -> None:
    """Answer the appends with an error, in order, on the event loop."""
    for append in appends:
        if not append.done.done():
            # Each of its own, for whoever raises it adds a traceback.
            append.done.set_exception(copy.copy(error))
