from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from riptide.errors import StartError
from riptide.message import NANOSECONDS
from riptide.storage.jetstream import engine as engine_module
from riptide.storage.jetstream.engine import Engine, NoAnswerError
from riptide.storage.jetstream.stream import DAY_S, StreamState, find_or_create, look, wanted
from riptide.storage.jetstream.subjects import Subjects
from riptide.storage.message_log import Retention
from tests.nats_servers import server
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.storage.jetstream.options import JetStreamOptions

KEEP = Retention(1000, 3600)


@pytest.fixture
def subjects(options: JetStreamOptions) -> Subjects:
    return Subjects(options.stream)


async def _config(engine: Engine, options: JetStreamOptions) -> dict[str, Any]:
    info = await engine.ask(f"STREAM.INFO.{options.stream}")
    config: dict[str, Any] = info["config"]
    return config


async def test_the_first_instance_creates_the_stream_and_others_find_it(
    engine: Engine, options: JetStreamOptions, subjects: Subjects, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "riptide.log")
    created = await find_or_create(engine, options, subjects, KEEP)
    assert caplog.messages == [f"the stream {options.stream} was created, with 1 replicas"]
    assert (created.last_sequence, created.topic_count) == (0, 0)
    found = await find_or_create(engine, options, subjects, KEEP)
    assert found == created._replace(leader=found.leader, told_at_ns=found.told_at_ns)
    assert len(caplog.messages) == 1


async def test_a_record_lives_for_the_retention_and_as_long_again_but_for_a_day_at_least(
    options: JetStreamOptions, subjects: Subjects
) -> None:
    for seconds, age_s in ((60, 60 + DAY_S), (7 * DAY_S, 14 * DAY_S), (1e12, 0)):
        config = wanted(options, subjects, Retention(1000, seconds))
        assert config["max_age"] == age_s * 1e9
    assert wanted(options, subjects, KEEP)["max_msgs_per_subject"] == 1100
    assert wanted(options, subjects, Retention(10**30, 60))["max_msgs_per_subject"] == -1


async def test_of_instances_that_start_at_the_same_moment_all_have_the_stream(
    options: JetStreamOptions, subjects: Subjects, caplog: pytest.LogCaptureFixture
) -> None:
    """The third one has other settings, so that the servers refuse its stream, or the others'."""
    engines = [Engine(options, lambda: None) for _ in range(3)]
    await asyncio.gather(*(engine.connect() for engine in engines))
    retentions = [KEEP, KEEP, Retention(5, 60)]
    states = await asyncio.gather(
        *(
            find_or_create(engine, options, subjects, retention)
            for engine, retention in zip(engines, retentions, strict=True)
        )
    )
    assert len({state.created for state in states}) == 1
    # Those who would have had it otherwise say so.
    assert "max_msgs_per_subject" in caplog.text
    for engine in engines:
        await engine.close()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("discard", "new"),
        ("allow_direct", False),
        ("allow_atomic", False),
        ("republish", None),
        ("republish", {"src": ">", "dest": "elsewhere.>"}),
        ("subjects", ["more.t.>"]),
        ("retention", "interest"),
        ("no_ack", True),
        ("subject_transform", {"src": ">", "dest": "elsewhere.>"}),
        ("sources", [{"name": "other"}]),
    ],
)
async def test_what_messages_need_is_refused_by_its_name_if_it_differs(
    engine: Engine, options: JetStreamOptions, subjects: Subjects, field: str, value: object
) -> None:
    more = f"{options.stream}.t.>"
    if field == "subjects":
        value = [more, f"{options.stream}.more"]
    config = wanted(options, subjects, KEEP) | {field: value}
    await engine.ask(f"STREAM.CREATE.{options.stream}", config)
    with pytest.raises(StartError, match=f"needs it, in: {field}. Change it back") as error:
        await find_or_create(engine, options, subjects, KEEP)
    assert options.stream in str(error.value)
    assert "RIPTIDE_JETSTREAM_STREAM" in str(error.value)


async def test_a_stream_that_is_sealed_mirrored_or_not_synced_is_refused(
    engine: Engine, options: JetStreamOptions, subjects: Subjects
) -> None:
    config = wanted(options, subjects, KEEP)
    create = f"STREAM.CREATE.{options.stream}"
    unneeded = {"allow_atomic": False, "persist_mode": "async"}
    await engine.ask(create, config | unneeded)
    with pytest.raises(StartError, match="in: allow_atomic, persist_mode"):
        await find_or_create(engine, options, subjects, KEEP)
    await engine.ask(f"STREAM.DELETE.{options.stream}")

    await engine.ask(create, config)
    await engine.ask(f"STREAM.UPDATE.{options.stream}", config | {"sealed": True, "max_age": 0})
    with pytest.raises(StartError, match="sealed"):
        await find_or_create(engine, options, subjects, KEEP)
    await engine.ask(f"STREAM.DELETE.{options.stream}")

    mirror = {"mirror": {"name": "other"}, "subjects": [], "allow_atomic": False}
    await engine.ask(create, config | mirror | {"republish": None})
    with pytest.raises(StartError, match="mirror"):
        await find_or_create(engine, options, subjects, KEEP)


@pytest.mark.parametrize(
    ("field", "value"),
    [("max_age", 7_000_000_000_000), ("max_msgs_per_subject", 3), ("storage", "memory")],
)
async def test_what_the_operator_may_change_counts_and_is_said(
    engine: Engine,
    options: JetStreamOptions,
    subjects: Subjects,
    caplog: pytest.LogCaptureFixture,
    field: str,
    value: object,
) -> None:
    config = wanted(options, subjects, KEEP) | {field: value}
    await engine.ask(f"STREAM.CREATE.{options.stream}", config)
    await find_or_create(engine, options, subjects, KEEP)
    (warning,) = caplog.messages
    assert f"has {field} = {value}, which counts" in warning
    assert (await _config(engine, options))[field] == value


async def test_the_age_that_counts_is_that_of_the_stream(
    engine: Engine, options: JetStreamOptions, subjects: Subjects
) -> None:
    config = wanted(options, subjects, KEEP)
    await engine.ask(f"STREAM.CREATE.{options.stream}", config | {"max_age": 7_000_000_000_000})
    assert (await find_or_create(engine, options, subjects, KEEP)).max_age_s == 7000
    await engine.ask(f"STREAM.UPDATE.{options.stream}", config | {"max_age": 0})
    assert (await look(engine, options.stream)).max_age_s == 0


async def test_other_replicas_than_the_stream_has_are_said(
    engine: Engine,
    options: JetStreamOptions,
    subjects: Subjects,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await find_or_create(engine, options, subjects, KEEP)
    await find_or_create(engine, dataclasses.replace(options, replicas=3), subjects, KEEP)
    assert "has num_replicas = 1, which counts" in caplog.text


@pytest.mark.parametrize("metadata", [None, {}, {"riptide": "2"}, {"other": "1"}])
async def test_a_stream_of_another_program_or_version_is_refused(
    engine: Engine,
    options: JetStreamOptions,
    subjects: Subjects,
    metadata: dict[str, str] | None,
) -> None:
    config = wanted(options, subjects, KEEP) | {"metadata": metadata}
    await engine.ask(f"STREAM.CREATE.{options.stream}", config)
    with pytest.raises(StartError, match="not one of Riptide's, or one of another version"):
        await find_or_create(engine, options, subjects, KEEP)


async def test_a_stream_that_others_have_subjects_of_cannot_be_created(
    engine: Engine, options: JetStreamOptions, subjects: Subjects
) -> None:
    other = wanted(options, subjects, KEEP) | {"name": f"{options.stream}-other"}
    await engine.ask(f"STREAM.CREATE.{options.stream}-other", other)
    with pytest.raises(StartError, match="cannot be created or read: subjects overlap"):
        await find_or_create(engine, options, subjects, KEEP)


@pytest.mark.parametrize("version", [(2, 11), (2, 9), (1, 99)])
async def test_servers_that_are_too_old_are_refused(
    engine: Engine,
    options: JetStreamOptions,
    subjects: Subjects,
    monkeypatch: pytest.MonkeyPatch,
    version: tuple[int, int],
) -> None:
    monkeypatch.setattr(Engine, "version", version)
    found = ".".join(map(str, version))
    with pytest.raises(StartError, match=rf"of version {found}, and Riptide needs 2\.12"):
        await find_or_create(engine, options, subjects, KEEP)


async def test_a_server_of_the_oldest_version_will_do(
    engine: Engine, options: JetStreamOptions, subjects: Subjects, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engine.version >= (2, 12)
    monkeypatch.setattr(Engine, "version", (2, 12))
    await find_or_create(engine, options, subjects, KEEP)


async def test_servers_without_streams_are_told_from_a_stream_without_servers(
    tmp_path: Path,
    options: JetStreamOptions,
    subjects: Subjects,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine_module, "REQUEST_TIMEOUT_S", 0.5)
    # An account without JetStream, in a server that has it.
    accounts = "accounts { A { users: [{user: a, password: a}] } }\nno_auth_user: a"
    with server(tmp_path, accounts) as one:
        there = dataclasses.replace(options, urls=[one.url])
        engine = Engine(there, lambda: None)
        await engine.connect()
        with pytest.raises(StartError, match="JetStream"):
            await find_or_create(engine, there, subjects, KEEP)
        await engine.close()


async def test_the_state_tells_what_the_stream_has(
    engine: Engine, options: JetStreamOptions, subjects: Subjects
) -> None:
    created = await find_or_create(engine, options, subjects, KEEP)
    for topic in ("a", "b", "a"):
        await engine.publish(subjects.stored(topic), b"hello", {})
    state = await look(engine, options.stream)
    assert state.size_bytes > 0
    assert state == StreamState(
        created.created, 3, state.size_bytes, 2, "n1", created.max_age_s, state.told_at_ns
    )
    assert abs(time.time_ns() - state.told_at_ns) < DEADLINE_S * NANOSECONDS


async def test_a_stream_that_is_gone_is_no_state(
    engine: Engine, options: JetStreamOptions, subjects: Subjects
) -> None:
    await find_or_create(engine, options, subjects, KEEP)
    await engine.ask(f"STREAM.DELETE.{options.stream}")
    with pytest.raises(engine_module.RefusedError, match="stream not found"):
        await look(engine, options.stream)
    await engine.close()
    with pytest.raises(NoAnswerError):
        await look(engine, options.stream)
