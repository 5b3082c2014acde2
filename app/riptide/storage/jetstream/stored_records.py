"""The records of the stream: stores new ones, and finds those that are there."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from riptide.message import NANOSECONDS
from riptide.storage.jetstream import record
from riptide.storage.jetstream.engine import RefusedError
from riptide.storage.jetstream.subjects import BARRIER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.msg import Msg

    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.record import Record
    from riptide.storage.jetstream.subjects import Subjects

NO_MESSAGE_FOUND = 10037
# A server answers for no more subjects at once.
SUBJECTS_AT_ONCE = 1000
BATCH_RECORDS = 256
# Of the largest message, for headers.
HEADER_BYTES = 64 * 1024
EXPECTED_SEQUENCE = "Nats-Expected-Last-Subject-Sequence"
EXPECTED_STREAM = "Nats-Expected-Stream"
BATCH_ID = "Nats-Batch-Id"
BATCH_SEQUENCE = "Nats-Batch-Sequence"
BATCH_COMMIT = "Nats-Batch-Commit"
BATCH_BYTES = 512 * 1024


class Stored(NamedTuple):
    """A message of the stream, and its number there. ``record`` is None if it is not Riptide's.

    ``time`` is when it was stored, by the clock of the servers, in the words of RFC 3339.
    """

    sequence: int
    record: Record | None
    time: str = ""

    @property
    def stored_at(self) -> float:
        """When it was stored, in seconds of Unix time."""
        return datetime.fromisoformat(self.time).timestamp()


class StoredRecords:
    """Reads of the stream.

    The leader knows the newest record. Other servers that have the stream may not have it yet, and
    answer all other reads.
    """

    def __init__(self, engine: Engine, subjects: Subjects) -> None:
        self._engine = engine
        self._subjects = subjects
        self._get = f"STREAM.MSG.GET.{subjects.stream}"
        self._get_direct = f"DIRECT.GET.{subjects.stream}"

    async def store(
        self, topic: str, records: Sequence[Record], after: int, *, timeout_s: float
    ) -> int:
        """Store records behind the one at ``after`` (0: as the first), all or none.

        Return the number of the last one.

        Raises:
            NoAnswerError: they may be stored or not.
            RefusedError: they are not stored.

        """
        subject = self._subjects.stored(topic)
        expected = {EXPECTED_SEQUENCE: str(after), EXPECTED_STREAM: self._subjects.stream}
        *before, last = records
        batch: dict[str, str] = {}
        for number, each in enumerate(before, 1):
            # ADR-50 of NATS: atomic batch publishing.
            batch = {BATCH_ID: records[0].writer, BATCH_SEQUENCE: str(number)}
            await self._engine.send(subject, each.body(), each.headers() | batch | expected)
            expected = {EXPECTED_STREAM: self._subjects.stream}
        if batch:
            batch |= {BATCH_SEQUENCE: str(len(records)), BATCH_COMMIT: "1"}
        headers = last.headers() | batch | expected
        return await self._engine.publish(subject, last.body(), headers, timeout_s=timeout_s)

    def max_message_bytes(self) -> int:
        """Return how many bytes a message may have for the servers."""
        return self._engine.max_payload - HEADER_BYTES

    def foreign(self, topic: str, sequence: int) -> str:
        """Return what to do about a message of another program, which is a topic's last one."""
        stream = self._subjects.stream
        return (
            f"message {sequence} of the stream, the last one of topic {topic}, was not written by "
            f"Riptide: remove it (nats stream rmm {stream} {sequence})"
        )

    async def last(self, topic: str) -> Stored | None:
        """Return the newest message of a topic, as the leader knows it.

        Raises:
            NoAnswerError: there is no answer.
            RefusedError: the answer is an error.

        """
        return await self._ask_leader({"last_by_subj": self._subjects.stored(topic)})

    async def next(self, topic: str, sequence: int) -> Stored | None:
        """Return the first message of a topic from a number of the stream on, as the leader knows.

        Raises:
            NoAnswerError: there is no answer.
            RefusedError: the answer is an error.

        """
        return await self._ask_leader(
            {"next_by_subj": self._subjects.stored(topic), "seq": sequence}
        )

    async def several(self, topic: str, sequence: int, count: int = BATCH_RECORDS) -> list[Stored]:
        """Return the messages of a topic from a number of the stream on, as far as it is long.

        Raises:
            NoAnswerError: there is no answer.
            RefusedError: the answer is an error.

        """
        return await self._ask_any(
            {
                "next_by_subj": self._subjects.stored(topic),
                "seq": max(1, sequence),
                "batch": count,
                "max_bytes": BATCH_BYTES,
            }
        )

    async def first_since(self, topic: str, unix_ns: int) -> list[Stored]:
        """Return messages of a topic that were stored from a moment on, the first ones.

        Raises:
            NoAnswerError: there is no answer.
            RefusedError: the answer is an error.

        """
        if unix_ns <= 0:
            return await self.several(topic, 1, 1)
        moment = datetime.fromtimestamp(unix_ns / NANOSECONDS, UTC)
        return await self._ask_any(
            {
                "next_by_subj": self._subjects.stored(topic),
                "start_time": moment.isoformat().replace("+00:00", "Z"),
                "batch": 1,
            }
        )

    async def lasts(self, topics: Sequence[str]) -> dict[str, Stored]:
        """Return the newest message of each topic that has one.

        Raises:
            NoAnswerError: there is no answer.
            RefusedError: the answer is an error.

        """
        found: dict[str, Stored] = {}
        for start in range(0, len(topics), SUBJECTS_AT_ONCE):
            missing = {self._subjects.stored(t) for t in topics[start : start + SUBJECTS_AT_ONCE]}
            # An answer ends once it is long: what it has not is asked for again.
            while missing and (
                messages := await self._ask_for(
                    {"multi_last": list(missing), "max_bytes": BATCH_BYTES}
                )
            ):
                for message in messages:
                    subject = (message.headers or {})["Nats-Subject"]
                    found[self._subjects.topic(subject)] = stored_of(message)
                    missing.discard(subject)
        return found

    async def put_barrier(self, epoch: str) -> int:
        """Have the stream store a record of no topic; return its number there.

        A server that has it as the newest one of ``BARRIER`` has all records before it.

        Raises:
            NoAnswerError: it may be stored or not.
            RefusedError: it is not stored.

        """
        headers = record.Record(epoch, 1, f"{epoch}.0").headers()
        expected = {EXPECTED_STREAM: self._subjects.stream}
        return await self._engine.publish(self._subjects.stored(BARRIER), b"", headers | expected)

    async def purge(self, topic: str, before: int) -> None:
        """Delete the records of a topic before a number of the stream.

        Raises:
            NoAnswerError: they may be deleted or not.
            RefusedError: they are not deleted.

        """
        await self._engine.ask(
            f"STREAM.PURGE.{self._subjects.stream}",
            {"filter": self._subjects.stored(topic), "seq": before},
        )

    async def _ask_leader(self, question: dict[str, Any]) -> Stored | None:
        try:
            answer = await self._engine.ask(self._get, question)
        except RefusedError as error:
            if error.code == NO_MESSAGE_FOUND:
                return None
            raise
        message = answer["message"]
        headers = _headers(base64.b64decode(message.get("hdrs", "")))
        body = base64.b64decode(message.get("data", ""))
        return Stored(int(message["seq"]), _record(headers, body), message["time"])

    async def _ask_any(self, question: dict[str, Any]) -> list[Stored]:
        return [stored_of(message) for message in await self._ask_for(question)]

    async def _ask_for(self, question: dict[str, Any]) -> list[Msg]:
        return await self._engine.ask_for_messages(self._get_direct, question)


def stored_of(message: Msg) -> Stored:
    """Return what the stream has stored, as a server tells it at once or gives it when asked."""
    headers = message.headers or {}
    return Stored(
        int(headers["Nats-Sequence"]),
        _record(headers, message.data),
        headers.get("Nats-Time-Stamp", ""),
    )


def _record(headers: dict[str, str], body: bytes) -> Record | None:
    with contextlib.suppress(record.ForeignMessageError):
        return record.read(headers, body)
    return None


def _headers(block: bytes) -> dict[str, str]:
    """Return the headers of a block as NATS stores it: a line of its version, then the fields."""
    lines = block.decode(errors="replace").split("\r\n")[1:]
    fields = [line.partition(":") for line in lines if line]
    return {name: value.strip() for name, _, value in fields}
