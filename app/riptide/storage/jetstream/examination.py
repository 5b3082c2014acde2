"""Looks at servers of NATS, and changes nothing: the facts that an operator should know."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from typing import TYPE_CHECKING, Any

import orjson

from riptide.errors import StartError
from riptide.message import NANOSECONDS
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError, connected
from riptide.storage.jetstream.facts import Clock, Facts, SeenServer
from riptide.storage.jetstream.leader_clock import LeaderClock
from riptide.storage.jetstream.monitoring import MonitorError, ask_monitor, named, read_varz
from riptide.storage.jetstream.stored_records import EXPECTED_STREAM, StoredRecords
from riptide.storage.jetstream.stream import STREAM_NOT_FOUND, look
from riptide.storage.jetstream.subjects import BARRIER, Subjects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.options import JetStreamOptions

# A server that can be reached takes a connection in less.
CONNECT_PATIENCE_S = 5.0
SYSTEM_PATIENCE_S = 1.0
# So often are replicas looked at until all are current.
LOOKS, LOOK_PAUSE_S = 10, 0.2
CLOCK_QUESTIONS = 5
# Newest messages that are looked at, for those of other programs.
TOPICS_LOOKED_AT = 1000
# Their names come with those of all others.
MOST_TOPICS = 100_000
# No topic begins with a dot.
_NO_TOPIC = ".check-engine"


async def examine(options: JetStreamOptions, monitor_urls: Sequence[str] = ()) -> Facts:
    """Connect to the servers, and find out.

    Raises:
        StartError: none could be reached, or they refuse the credentials.

    """
    facts = Facts(addresses_given=len(options.urls))
    others = await _look(options, facts)
    await _look_at_servers(options, others, facts)
    for url in monitor_urls:
        try:
            state = await asyncio.to_thread(ask_monitor, url)
        except MonitorError as error:
            facts.silent_monitors[named(url)] = str(error)
        else:
            facts.states.append(state)
    return facts


async def _look(options: JetStreamOptions, facts: Facts) -> list[str]:
    """Ask all that one connection can tell; return the addresses of servers that it has told of."""
    async with connected(options, 2 * CONNECT_PATIENCE_S) as engine:
        try:
            examination = _Examination(engine, options.stream, facts)
            await examination.look_at_stream()
            await examination.look_at_permissions()
            await examination.look_at_clock()
            await examination.look_for_foreign_messages()
            await examination.ask_system()
        except (NoAnswerError, RefusedError) as error:
            facts.trouble = facts.trouble or str(error)
        return engine.other_servers()


class _Examination:
    def __init__(self, engine: Engine, stream: str, facts: Facts) -> None:
        self._engine = engine
        self._facts = facts
        self._stream = stream
        self._subjects = Subjects(stream)

    async def look_at_permissions(self) -> None:
        """Send what has no effect to each subject that instances publish to."""
        stream, subjects = self._stream, self._subjects
        nothing = {"filter": subjects.stored(_NO_TOPIC), "seq": 1}
        questions: dict[str, Any] = {
            f"STREAM.INFO.{stream}": None,
            f"STREAM.MSG.GET.{stream}": {"last_by_subj": subjects.stored(_NO_TOPIC)},
            # Of a topic that cannot be.
            f"STREAM.PURGE.{stream}": nothing,
            f"DIRECT.GET.{stream}": {"last_by_subj": subjects.stored(_NO_TOPIC)},
            # The name in the subject is another one, so it is refused.
            f"STREAM.CREATE.{stream}": {"name": f"not-{stream}"},
        }
        for action, question in questions.items():
            body = b"" if question is None else orjson.dumps(question)
            await self._try(f"{self._engine.api}.{action}", body, {})
        # Refused by the stream, because another one is expected.
        await self._try(subjects.stored(_NO_TOPIC), b"", {EXPECTED_STREAM: f"not-{stream}"})
        if not await self._engine.may_subscribe(subjects.live(_NO_TOPIC)):
            self._facts.denied.append(f"subscribe {subjects.all_live}")

    async def _try(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        if not await self._engine.may_publish(subject, body, headers):
            is_topic = subject == self._subjects.stored(_NO_TOPIC)
            shown = self._subjects.all_stored if is_topic else subject
            self._facts.denied.append(f"publish {shown}")

    async def look_at_stream(self) -> None:
        """Ask for the account and for the stream."""
        # Instances do not need the answer, so they may not be allowed to ask.
        if await self._engine.may_publish(f"{self._engine.api}.INFO", b"", {}):
            try:
                self._facts.account = await self._engine.ask("INFO")
            except (NoAnswerError, RefusedError) as error:
                self._facts.trouble = str(error)
        try:
            for _ in range(LOOKS):
                self._facts.stream = await self._engine.ask(f"STREAM.INFO.{self._stream}")
                if _are_current(self._facts.cluster):
                    break
                # A replica that is just being written to is current a moment later.
                await asyncio.sleep(LOOK_PAUSE_S)
        except RefusedError as error:
            self._facts.is_there_no_stream = error.code == STREAM_NOT_FOUND
            self._facts.trouble = str(error)
        except NoAnswerError as error:
            self._facts.trouble = str(error)

    async def look_at_clock(self) -> None:
        """Compare the clocks: the leader says when it has answered."""
        if self._facts.stream is None or "ts" not in self._facts.stream:
            return
        clock = LeaderClock()
        for _ in range(CLOCK_QUESTIONS):
            asked_ns = time.monotonic_ns()
            state = await look(self._engine, self._stream)
            clock.note(state.leader, state.told_at_ns, asked_ns)
        offset_s = (clock.offset_ns() or 0) / NANOSECONDS
        self._facts.clock = Clock(offset_s, clock.uncertainty_ns() / NANOSECONDS)

    async def look_for_foreign_messages(self) -> None:
        """Look at the newest message of each topic, of some."""
        stream = self._facts.stream
        if stream is None or not 0 < stream["state"].get("num_subjects", 0) <= MOST_TOPICS:
            return
        question = {"subjects_filter": self._subjects.all_stored}
        info = await self._engine.ask(f"STREAM.INFO.{self._stream}", question)
        names = {self._subjects.topic(each) for each in info["state"].get("subjects") or {}}
        some = sorted(names - {BARRIER})[:TOPICS_LOOKED_AT]
        stored = StoredRecords(self._engine, self._subjects)
        lasts = await stored.lasts(some)
        self._facts.topics_looked_at = len(some)
        self._facts.foreign = [
            stored.foreign(topic, last.sequence)
            for topic, last in lasts.items()
            if last.record is None
        ]

    async def ask_system(self) -> None:
        """Ask all servers how they are, which only some accounts may."""
        subject = "$SYS.REQ.SERVER.PING.VARZ"
        if not await self._engine.may_publish(subject, b"", {}):
            return
        for answer in await self._engine.ask_all(subject, SYSTEM_PATIENCE_S):
            try:
                self._facts.states.append(read_varz(answer.get("data") or {}))
            except MonitorError as error:
                name = (answer.get("server") or {}).get("name", "a server")
                self._facts.silent_monitors[str(name)] = str(error)


async def _look_at_servers(options: JetStreamOptions, others: Sequence[str], facts: Facts) -> None:
    """Connect to each server by itself, which tells its version."""
    user = options.urls[0].rpartition("//")[2].rpartition("@")
    for url in options.urls:
        await _look_at_server(dataclasses.replace(options, urls=[url]), facts, is_given=True)
    scheme = options.urls[0].partition("://")[0]
    for address in others:
        url = f"{scheme}://{user[0]}{user[1]}{address}"
        await _look_at_server(dataclasses.replace(options, urls=[url]), facts, is_given=False)


async def _look_at_server(options: JetStreamOptions, facts: Facts, *, is_given: bool) -> None:
    address = options.named_urls()
    if any(server.address == address for server in facts.servers):
        return
    try:
        async with connected(options, CONNECT_PATIENCE_S) as engine:
            seen = SeenServer(address, engine.server_name, engine.version, engine.max_payload)
    except StartError as error:
        if is_given:
            facts.unreachable[address] = str(error)
        return
    if all(server.name != seen.name for server in facts.servers):
        facts.servers.append(seen)


def _are_current(cluster: dict[str, Any]) -> bool:
    replicas = cluster.get("replicas") or []
    return all(each.get("current") and not each.get("offline") for each in replicas)
