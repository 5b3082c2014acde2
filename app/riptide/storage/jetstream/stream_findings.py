"""What is to be said of the stream: whether it fits, its replicas, its limits, who may what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.message import NANOSECONDS
from riptide.storage.jetstream.findings import ok, risk, wrong
from riptide.storage.jetstream.stored_records import HEADER_BYTES
from riptide.storage.jetstream.stream import find_misfit, wanted
from riptide.storage.jetstream.subjects import Subjects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.storage.jetstream.facts import Facts
    from riptide.storage.jetstream.findings import Finding, Wishes

# A replica that has said nothing for so long.
SILENT_S = 10.0


def about_stream(facts: Facts, wishes: Wishes, replicas: int) -> Iterator[Finding]:
    """Yield what is to be said; ``replicas`` are those that it has, or will have."""
    yield from _stream(facts, wishes)
    yield from _members(facts, replicas)
    yield from _payload(facts, wishes)
    yield from _limits(facts, wishes)
    yield from _permissions(facts)
    yield from _foreign(facts)


def _stream(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    options = wishes.options
    if facts.stream is None:
        if facts.is_there_no_stream:
            yield ok(
                "stream",
                f"there is no stream {options.stream}: the first instance creates it with "
                f"{options.replicas} replicas (RIPTIDE_JETSTREAM_REPLICAS)",
            )
        return
    misfit = find_misfit(facts.config, wanted(options, Subjects(options.stream), wishes.retention))
    if misfit is not None:
        yield wrong("stream", misfit)
        return
    state = facts.stream["state"]
    yield ok(
        "stream",
        f"the stream {options.stream} is as Riptide needs it: {state.get('num_subjects', 0):,} "
        f"topics, {state['bytes']:,} bytes",
    )
    if facts.config.get("storage") != "file":
        yield wrong(
            "stream", "the stream is in memory: it is gone when the servers restart. Use file"
        )


def _members(facts: Facts, replicas: int) -> Iterator[Finding]:
    if replicas == 1:
        yield risk(
            "replicas",
            "1 replica: the loss of its machine or disk loses all messages, and nothing works "
            "while its server is down. Use 3 servers, and 3 replicas (nats stream edit "
            "--replicas 3)",
        )
    elif replicas % 2 == 0:
        yield risk(
            "replicas",
            f"{replicas} replicas survive the loss of no more servers than {replicas - 1} do: use "
            f"{replicas + 1} or {replicas - 1}",
        )
    else:
        yield ok("replicas", f"{replicas} replicas")
    if facts.stream is None or not facts.cluster:
        return
    leader = facts.cluster.get("leader")
    if leader:
        yield ok("leader", f"the stream's leader is {leader}")
    else:
        yield wrong("leader", "the stream has no leader: start servers until a majority runs")
    for each in facts.cluster.get("replicas") or []:
        name, lag = each["name"], each.get("lag", 0)
        silent_s = each.get("active", 0) / NANOSECONDS
        if each.get("offline") or silent_s > SILENT_S:
            yield risk(
                "replicas",
                f"the replica on {name} is not there (not heard for {silent_s:.0f} s, {lag:,} "
                f"behind): start {name}, or replace it",
            )
        elif not each.get("current"):
            yield risk(
                "replicas",
                f"the replica on {name} is not current ({lag:,} behind): wait until it is before "
                "another server is ended",
            )


def _payload(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    if not facts.servers:
        return
    least = min(server.max_payload for server in facts.servers)
    room, needed = least - HEADER_BYTES, wishes.max_message_bytes
    if room < needed:
        yield risk(
            "max_payload",
            f"messages of more than {room:,} bytes are refused, though RIPTIDE_MAX_MESSAGE_BYTES "
            f"is {needed:,}: set max_payload to {needed + HEADER_BYTES} or more on all servers, or "
            f"RIPTIDE_MAX_MESSAGE_BYTES to {max(1, room)}",
        )
    else:
        yield ok("max_payload", f"max_payload is {least:,} bytes, enough for the largest message")
    most = facts.config.get("max_msg_size", -1)
    if 0 < most < needed + HEADER_BYTES:
        yield risk(
            "max_payload",
            f"the stream refuses messages of more than {most:,} bytes (max_msg_size): set it to -1",
        )


def _limits(facts: Facts, wishes: Wishes) -> Iterator[Finding]:
    if facts.stream is None:
        return
    config, retention = facts.config, wishes.retention
    age_s = config.get("max_age", 0) / NANOSECONDS
    in_words = f"max_age of the stream is {age_s:,.0f} s"
    wanted_age_s = wanted(wishes.options, Subjects(""), retention)["max_age"] / NANOSECONDS
    if 0 < age_s < retention.seconds:
        yield wrong(
            "retention",
            f"{in_words}, less than RIPTIDE_RETENTION_SECONDS ({retention.seconds:,.0f}): messages "
            "are gone too early. Raise it, to twice that",
        )
    elif 0 < age_s < wanted_age_s or (age_s and not wanted_age_s):
        yield risk(
            "retention",
            f"{in_words}; instances would have created the stream with {wanted_age_s:,.0f} (0: for "
            "ever): numbers of idle topics may be forgotten, and messages if clocks differ",
        )
    elif not age_s and wanted_age_s:
        yield risk(
            "retention",
            f"the stream keeps messages for ever, and instances hide them after "
            f"{retention.seconds:,.0f} s: set max_age to {wanted_age_s:.0f} s, or disks fill up",
        )
    else:
        yield ok("retention", "the stream keeps messages for as long as the settings say")
    count = config.get("max_msgs_per_subject", -1)
    if 0 < count < retention.messages:
        yield wrong(
            "retention",
            f"the stream keeps {count:,} records of a topic (max_msgs_per_subject), less than "
            f"RIPTIDE_RETENTION_MESSAGES ({retention.messages:,}): raise it",
        )
    for name in ("max_bytes", "max_msgs"):
        if (limit := config.get(name, -1)) > 0:
            yield risk(
                "retention",
                f"the stream deletes the oldest messages of all topics beyond {name} = {limit:,}: "
                "see that this is not reached, or set it to -1",
            )
    for name in ("deny_purge", "deny_delete"):
        if config.get(name):
            yield risk(
                "stream",
                f"the stream has {name}, so that "
                + (
                    "RIPTIDE_RETENTION_MESSAGES cannot be kept"
                    if name == "deny_purge"
                    else "a message of another program cannot be removed"
                ),
            )


def _permissions(facts: Facts) -> Iterator[Finding]:
    denied = facts.denied
    if facts.stream is not None:
        # It is there, so that nobody needs to create it.
        creates = [each for each in denied if ".STREAM.CREATE." in each]
        denied = [each for each in denied if each not in creates]
        for each in creates:
            yield ok("permissions", f"the user may not create the stream ({each}), which exists")
    if denied:
        yield wrong(
            "permissions",
            f"the user may not: {'; '.join(denied)}. docs/cluster.md lists what is needed",
        )
    else:
        yield ok("permissions", "the user may do what instances do")


def _foreign(facts: Facts) -> Iterator[Finding]:
    if facts.foreign:
        for text in facts.foreign:
            yield wrong("foreign", f"publishes to a topic are refused, because {text}")
    elif facts.topics_looked_at:
        yield ok(
            "foreign",
            f"no message of another program ends one of the {facts.topics_looked_at:,} topics "
            "that were looked at",
        )
