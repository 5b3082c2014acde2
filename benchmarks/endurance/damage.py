"""A log on a disk that lies: images with a flipped bit or a torn tail, read as consumers read.

Nothing that was altered may be delivered, and nothing that was acknowledged may be lost without a
word: to consumers in their stream, or to operators at the start.
"""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks.figures import Bar, Figure, Result
from riptide.encoding.formats import NDJSON
from riptide.errors import LogUnavailableError, StartError
from riptide.hub.batch import Batch
from riptide.hub.hub import Hub
from riptide.hub.ring import RingLimits
from riptide.hub.stream_range import StreamRange
from riptide.hub.subscription import Finished, Missed
from riptide.message import Edge, MessageId
from riptide.publication import Publication
from riptide.storage.message_log import Retention
from riptide.storage.sqlite import SqliteLog
from riptide.storage.wal_frames import find_left_frames
from riptide_telemetry import Lifecycle, ReconnectionOutcome

if TYPE_CHECKING:
    from collections.abc import Callable

TOPICS = ("orders", "prices", "alarms")
FOR_EVER = Retention(1_000_000, 1e9)
DATABASE, WAL = "riptide.db", "riptide.db-wal"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_RING = RingLimits(1, 1)
_logger = logging.getLogger("riptide.log")


class Plan(NamedTuple):
    """How many images there are, and how many commits of each topic in them."""

    images: int = 1_000
    commits: int = 60
    seed: int = 1


class Verdict(NamedTuple):
    """What became of the messages of one image.

    ``altered`` were delivered and are not what was published; ``unreported`` are neither delivered
    nor reported; ``reports`` names how the image was reported.
    """

    altered: int
    unreported: int
    reports: frozenset[str]


class Original:
    """A log as it was acknowledged, and its files as a crash leaves them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        # The records of all messages, as consumers get them.
        self.records: dict[str, dict[int, bytes]] = {topic: {} for topic in TOPICS}
        self.epoch = ""

    async def publish(self, commits: int) -> None:
        """Publish, half of it into the database and the rest into the write-ahead log."""
        source = self.directory / "source"
        log = SqliteLog(source, FOR_EVER)
        await log.open()
        self.epoch = log.epoch
        noise = random.Random(commits)  # noqa: S311  # contents, no secrets
        for commit in range(commits):
            if commit == commits // 2:
                # The next start has an empty write-ahead log.
                await log.close()
                log = SqliteLog(source, FOR_EVER)
                await log.open()
            for topic in TOPICS:
                await self._append(log, topic, noise)
        for name in (DATABASE, WAL):
            shutil.copy(source / name, self.directory / name)
        await log.close()
        self.epoch = log.epoch

    async def _append(self, log: SqliteLog, topic: str, noise: random.Random) -> None:
        payloads = [
            orjson.dumps({"number": noise.random(), "text": "x" * noise.choice([1, 50, 400, 5000])})
            for _ in range(noise.choice([1, 1, 3]))
        ]
        publication = Publication.now(topic, payloads, TRACE if noise.random() < 1 / 3 else "")
        receipt = await log.append(publication)
        for message in publication.messages(receipt.first):
            self.records[topic][message.sequence] = NDJSON.encode_message(message)


def run(plan: Plan) -> Result:
    """Make the images, read each, and judge what consumers and operators were told."""
    with tempfile.TemporaryDirectory() as name:
        counts, reports = asyncio.run(_run(Path(name), plan))
    figures = [
        Figure("altered messages delivered", "", [counts["altered"]], Bar(0)),
        Figure("lost messages that nobody was told of", "", [counts["unreported"]], Bar(0)),
        *(Figure(f"images: {name}", "", [count]) for name, count in sorted(reports.items())),
    ]
    return Result(figures, {"images": plan.images, "commits of each topic": plan.commits})


async def _run(directory: Path, plan: Plan) -> tuple[Counter[str], Counter[str]]:
    original = Original(directory)
    await original.publish(plan.commits)
    counts: Counter[str] = Counter()
    reports: Counter[str] = Counter()
    chance = random.Random(plan.seed)  # noqa: S311  # places of damage, no secrets
    for number in range(plan.images):
        verdict = await judge(original, HARMS[number % len(HARMS)], chance)
        counts["altered"] += verdict.altered
        counts["unreported"] += verdict.unreported
        reports.update(verdict.reports or {"nothing was lost"})
    return counts, reports


async def judge(
    original: Original, harm: Callable[[Path, random.Random], None], chance: random.Random
) -> Verdict:
    """Do harm to a copy of the log, and read it as consumers that have read nothing yet."""
    with tempfile.TemporaryDirectory(dir=original.directory) as name:
        image = Path(name)
        for file in (DATABASE, WAL):
            shutil.copy(original.directory / file, image / file)
        harm(image, chance)
        # An end that is missing as if it had never been written leaves no trace in the file.
        is_traceless = harm is tear_wal and find_left_frames(image / WAL, 0) is None
        records = _Records()
        _logger.addHandler(records)
        log = SqliteLog(image, FOR_EVER)
        try:
            await log.open()
            return await _read(original, log, records.reports(), is_traceless=is_traceless)
        except StartError:
            return Verdict(0, 0, frozenset({"refused at the start"}))
        finally:
            await log.close()
            _logger.removeHandler(records)


async def _read(
    original: Original, log: SqliteLog, reports: set[str], *, is_traceless: bool
) -> Verdict:
    hub = Hub(log, Lifecycle(), _RING)
    altered = unreported = 0
    for topic, published in original.records.items():
        told: set[int] = set()
        delivered: dict[int, bytes] = {}
        try:
            await _follow(hub, topic, delivered, told)
            newest = MessageId(original.epoch, max(published))
            start = await hub.subscribe(topic, NDJSON, StreamRange(newest))
        except LogUnavailableError:
            reports.add("a topic was refused")
            continue
        # A consumer that had read all is told, if the log does not have it any more.
        is_reset = start.reconnection is ReconnectionOutcome.RESET
        hub.unsubscribe(start.subscription)
        altered += sum(published.get(number) != record for number, record in delivered.items())
        lost = published.keys() - delivered.keys() - told
        if told:
            reports.add("a gap in a stream")
        if lost and is_reset and is_traceless:
            reports.add("a reset of those who had read more")
        elif lost and not reports & _OF_OPERATORS:
            unreported += len(lost)
    return Verdict(altered, unreported, frozenset(reports))


async def _follow(hub: Hub, topic: str, delivered: dict[int, bytes], told: set[int]) -> None:
    start = await hub.subscribe(topic, NDJSON, StreamRange(Edge.EARLIEST, finite=True))
    subscription = start.subscription
    # Nothing has expired in this log.
    told.update(range(1, subscription.start + 1))
    while not isinstance(step := await subscription.next(), Finished):
        match step:
            case Batch():
                numbers = range(step.after + 1, step.last + 1)
                lines = b"".join(step.frames).split(b"\n")
                delivered.update(
                    (number, line + b"\n") for number, line in zip(numbers, lines, strict=False)
                )
                subscription.advance(step)
            case Missed(message_count):
                cursor = subscription.cursor
                told.update(range(cursor - message_count + 1, cursor + 1))
    hub.unsubscribe(subscription)


_OF_OPERATORS = frozenset({"an error of the write-ahead log", "a commit without an end"})


class _Records(logging.Handler):
    """Keeps what the log says when it is opened."""

    def __init__(self) -> None:
        super().__init__()
        self._texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._texts.append(record.getMessage())

    def reports(self) -> set[str]:
        """Return which reports there were about the write-ahead log."""
        found = set()
        for text in self._texts:
            if text.startswith("the write-ahead log is damaged"):
                found.add("an error of the write-ahead log")
            elif text.startswith("the last commit in the write-ahead log has no end"):
                found.add("a commit without an end")
        return found


def flip_in_database(image: Path, chance: random.Random) -> None:
    """Flip a bit of the database."""
    _flip(image / DATABASE, chance)


def flip_in_wal(image: Path, chance: random.Random) -> None:
    """Flip a bit of the write-ahead log."""
    _flip(image / WAL, chance)


def tear_wal(image: Path, chance: random.Random) -> None:
    """Cut the end off the write-ahead log."""
    wal = image / WAL
    with wal.open("r+b") as file:
        file.truncate(chance.randrange(wal.stat().st_size))


def tear_database(image: Path, chance: random.Random) -> None:
    """Cut the end off the database."""
    database = image / DATABASE
    with database.open("r+b") as file:
        file.truncate(chance.randrange(database.stat().st_size))


HARMS = (flip_in_database, flip_in_wal, tear_wal, flip_in_database, flip_in_wal, tear_database)


def _flip(file: Path, chance: random.Random) -> None:
    with file.open("r+b") as damaged:
        offset = chance.randrange(file.stat().st_size)
        damaged.seek(offset)
        byte = damaged.read(1)[0]
        damaged.seek(offset)
        damaged.write(bytes([byte ^ 1 << chance.randrange(8)]))
