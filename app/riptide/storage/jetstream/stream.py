"""The stream: it is created once, looked at by each instance, and never changed silently."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from riptide.errors import StartError
from riptide.message import NANOSECONDS
from riptide.storage.jetstream.engine import NoAnswerError, RefusedError
from riptide.storage.jetstream.record import VERSION

if TYPE_CHECKING:
    from riptide.storage.jetstream.engine import Engine
    from riptide.storage.jetstream.options import JetStreamOptions
    from riptide.storage.jetstream.subjects import Subjects
    from riptide.storage.message_log import Retention

logger = logging.getLogger("riptide.log")

# Before it, a server could take two records for the same place (nats-server #6194, #7196).
OLDEST_VERSION = (2, 12)
STREAM_NOT_FOUND = 10059
# The servers have no leader, or not all of them have come yet.
NOT_YET = {10005, 10008}
START_PATIENCE_S, START_PAUSE_S = 30.0, 0.5
NAME_IN_USE = 10058
DAY_S = 86_400.0
# Anything longer is for ever.
LONGEST_AGE_S = 100 * 365 * DAY_S
# Instances whose clocks differ delete no message that another still gives.
SPARE_RECORDS = 100
METADATA = {"riptide": str(VERSION)}


class StreamState(NamedTuple):
    """The stream at a moment."""

    created: str
    last_sequence: int
    size_bytes: int
    topic_count: int
    leader: str | None
    # 0: for ever.
    max_age_s: float
    # Unix time of the leader when it said so; 0 if it does not say.
    told_at_ns: int = 0


def wanted(options: JetStreamOptions, subjects: Subjects, retention: Retention) -> dict[str, Any]:
    """Return the configuration of the stream."""
    age_s = retention.seconds + max(retention.seconds, DAY_S)
    records = retention.messages + SPARE_RECORDS
    return {
        "name": options.stream,
        "subjects": [subjects.all_stored],
        "retention": "limits",
        "discard": "old",
        "storage": "file",
        "num_replicas": options.replicas,
        "max_age": int(age_s * NANOSECONDS) if age_s < LONGEST_AGE_S else 0,
        "max_msgs_per_subject": records if records < 2**53 else -1,
        "allow_direct": True,
        "allow_atomic": True,
        "republish": {"src": subjects.all_stored, "dest": subjects.all_live},
        "metadata": METADATA,
    }


# Without these as they are, messages would be lost, altered, or not told to followers.
_NEEDED = ("subjects", "retention", "discard", "allow_direct", "allow_atomic", "republish")
_FORBIDDEN = ("mirror", "sources", "subject_transform", "sealed", "no_ack")
_TOLD = ("num_replicas", "max_age", "max_msgs_per_subject", "storage")


async def find_or_create(
    engine: Engine, options: JetStreamOptions, subjects: Subjects, retention: Retention
) -> StreamState:
    """Make sure that there is a stream, and that it is as messages need it.

    Raises:
        StartError: there is none and none can be created, or it differs in what is needed.

    """
    if engine.version < OLDEST_VERSION:
        raise StartError(too_old("the server of NATS", engine.version))
    config = wanted(options, subjects, retention)
    info = await _wait_for_info(engine, config)
    _compare(info["config"], config)
    return state_of(info)


def too_old(server: str, version: tuple[int, int]) -> str:
    """Return why a server of a version before ``OLDEST_VERSION`` cannot be used."""
    needed, found = (".".join(map(str, each)) for each in (OLDEST_VERSION, version))
    return (
        f"{server} is of version {found}, and Riptide needs {needed} or later, on "
        "all servers: older ones can lose or mix up records of instances that write at once"
    )


async def _wait_for_info(engine: Engine, config: dict[str, Any]) -> dict[str, Any]:
    deadline = time.monotonic() + START_PATIENCE_S
    while True:
        try:
            return await _info_or_create(engine, config)
        except NoAnswerError as error:
            if time.monotonic() > deadline:
                raise StartError(
                    f"the servers of NATS do not answer for streams ({error}): check that "
                    "JetStream is enabled, and that a majority of its servers runs"
                ) from error
        except RefusedError as error:
            if error.code not in NOT_YET or time.monotonic() > deadline:
                raise StartError(
                    f"the stream {config['name']} cannot be created or read: {error}"
                ) from error
        # Servers that are started together need a while until they have a leader.
        await asyncio.sleep(START_PAUSE_S)


async def look(engine: Engine, stream: str) -> StreamState:
    """Return how the stream is.

    Raises:
        NoAnswerError: there is no answer: it has no leader, for example.
        RefusedError: the answer is an error.

    """
    return state_of(await _info(engine, stream))


def state_of(info: dict[str, Any]) -> StreamState:
    """Return what the servers have told of a stream."""
    state = info["state"]
    return StreamState(
        info["created"],
        state["last_seq"],
        state["bytes"],
        state.get("num_subjects", 0),
        (info.get("cluster") or {}).get("leader"),
        info["config"].get("max_age", 0) / NANOSECONDS,
        _unix_ns(info.get("ts")),
    )


def _unix_ns(time: str | None) -> int:
    """Return a moment in the words of RFC 3339, to the microsecond; 0 if there is none."""
    return 0 if time is None else int(datetime.fromisoformat(time).timestamp() * NANOSECONDS)


async def _info(engine: Engine, stream: str) -> dict[str, Any]:
    info = await engine.ask(f"STREAM.INFO.{stream}")
    cluster = info.get("cluster")
    if cluster and not cluster.get("leader"):
        # A server without a majority answers all the same, with what it knew last.
        raise NoAnswerError("the stream has no leader")
    return info


async def _info_or_create(engine: Engine, config: dict[str, Any]) -> dict[str, Any]:
    name = config["name"]
    try:
        return await _info(engine, name)
    except RefusedError as error:
        if error.code != STREAM_NOT_FOUND:
            raise
    try:
        info = await engine.ask(f"STREAM.CREATE.{name}", config)
    except RefusedError as error:
        # Another instance was quicker, with other settings of its own.
        if error.code != NAME_IN_USE:
            raise
        return await _info(engine, name)
    logger.info("the stream %s was created, with %d replicas", name, config["num_replicas"])
    return info


def find_misfit(found: dict[str, Any], config: dict[str, Any]) -> str | None:
    """Return why instances do not start on a stream as it was found; None if they do."""
    name = config["name"]
    version = (found.get("metadata") or {}).get("riptide")
    if version != METADATA["riptide"]:
        return (
            f"the stream {name} is not one of Riptide's, or one of another version: choose another "
            "name by RIPTIDE_JETSTREAM_STREAM"
        )
    differing = [
        field for field in _NEEDED if _plain(found.get(field)) != _plain(config[field])
    ] + [field for field in _FORBIDDEN if found.get(field)]
    if found.get("persist_mode") == "async":
        differing.append("persist_mode")
    if not differing:
        return None
    fields = ", ".join(differing)
    return (
        f"the stream {name} is not as Riptide needs it, in: {fields}. Change it back (nats "
        f"stream edit {name}), or choose another name by RIPTIDE_JETSTREAM_STREAM"
    )


def _compare(found: dict[str, Any], config: dict[str, Any]) -> None:
    name = config["name"]
    misfit = find_misfit(found, config)
    if misfit is not None:
        raise StartError(misfit)
    for field in _TOLD:
        if found.get(field) != config[field]:
            logger.warning(
                "the stream %s has %s = %s, which counts; by its settings, this instance would "
                "have created it with %s",
                name,
                field,
                found.get(field),
                config[field],
            )


def _plain(value: object) -> object:
    """Return a value of a configuration without what servers leave out if it is as usual."""
    if isinstance(value, dict):
        return {key: each for key, each in value.items() if each}
    return value or None
