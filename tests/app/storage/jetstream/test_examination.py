"""Real servers are looked at, and nothing is changed on them."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING

import pytest

from benchmarks.endurance.cluster.questions import ask
from operations.ports import free_port
from riptide.errors import StartError
from riptide.storage.jetstream import examination
from riptide.storage.jetstream.engine import Engine
from riptide.storage.jetstream.examination import examine
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.jetstream.stream import find_or_create
from riptide.storage.jetstream.subjects import Subjects
from riptide.storage.message_log import Retention
from tests.app.storage.jetstream.records import make_record
from tests.nats_servers import server

if TYPE_CHECKING:
    from pathlib import Path

    from riptide.storage.jetstream.stored_records import StoredRecords

PASSWORD = "correct horse battery staple"
KEEP = Retention(1000, 3600)


async def test_a_server_without_a_stream_is_as_it_was_afterwards(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        facts = await examine(JetStreamOptions([one.url], replicas=1))
        assert [(s.name, s.max_payload) for s in facts.servers] == [("n1", 1024 * 1024)]
        assert facts.is_there_no_stream
        assert facts.account is not None
        assert (facts.denied, facts.unreachable, facts.clock) == ([], {}, None)
        assert not (await ask([one.url], "STREAM.NAMES")).get("streams")


async def test_a_stream_is_as_it_was_afterwards_and_its_clock_is_known(
    engine: Engine, options: JetStreamOptions, stored: StoredRecords
) -> None:
    await stored.store("a", [make_record(1)], 0, timeout_s=10)
    await stored.store("b", [make_record(1)], 0, timeout_s=10)
    await engine.publish(Subjects(options.stream).stored("b"), b"foreign", {})
    before = await engine.ask(f"STREAM.INFO.{options.stream}", {"subjects_filter": ">"})
    facts = await examine(options)
    after = await engine.ask(f"STREAM.INFO.{options.stream}", {"subjects_filter": ">"})
    assert {**after, "ts": ""} == {**before, "ts": ""}
    assert facts.stream is not None
    assert facts.stream["state"]["messages"] == 3
    assert facts.denied == []
    assert facts.topics_looked_at == 2
    (foreign,) = facts.foreign
    assert f"nats stream rmm {options.stream} 3" in foreign
    assert facts.clock is not None
    # It is one machine.
    assert abs(facts.clock.offset_s) <= facts.clock.uncertainty_s + 0.005


async def test_what_the_user_may_not_do_is_found(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    allowed = "$JS.API.STREAM.INFO.riptide", "$JS.API.DIRECT.GET.riptide"
    users = f"""authorization {{ users: [
        {{ user: all, password: "{PASSWORD}" }}
        {{ user: few, password: "{PASSWORD}", permissions: {{
            publish: {list(allowed)}, subscribe: ["_INBOX_riptide.>"]
        }} }}
    ] }}""".replace("'", '"')
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    with server(tmp_path / "nats", users) as one:
        of_all = JetStreamOptions([one.url], replicas=1, user="all", password_file=password)
        engine = Engine(of_all, lambda: None)
        await engine.connect()
        await find_or_create(engine, of_all, Subjects("riptide"), KEEP)
        await engine.close()
        assert (await examine(of_all)).denied == []
        facts = await examine(dataclasses.replace(of_all, user="few"))
        assert facts.denied == [
            "publish $JS.API.STREAM.MSG.GET.riptide",
            "publish $JS.API.STREAM.PURGE.riptide",
            "publish $JS.API.STREAM.CREATE.riptide",
            "publish riptide.t.>",
            "subscribe riptide.live.>",
        ]
        assert facts.account is None
        assert facts.stream is not None


async def test_a_server_without_jetstream_is_said(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        text = (tmp_path / "nats.conf").read_text()
        one.stop()
        without = text[: text.index("jetstream")] + text[text.index("ports_file_dir") :]
        (tmp_path / "nats.conf").write_text(without.replace(":-1", f":{one.port}"))
        super(type(one), one).start()
        facts = await examine(JetStreamOptions([one.url]))
    assert (facts.account, facts.stream, facts.is_there_no_stream) == (None, None, False)
    assert facts.trouble


async def test_an_account_that_may_ask_the_system_sees_when_servers_sync(tmp_path: Path) -> None:
    subject = "$SYS.REQ.SERVER.PING.VARZ"
    accounts = f"""accounts {{
        SYS: {{ users: [{{ user: sys, password: sys }}], exports: [{{ service: "{subject}" }}] }}
        APP: {{
            jetstream: enabled
            users: [{{ user: app, password: app }}]
            imports: [{{ service: {{ account: SYS, subject: "{subject}" }} }}]
        }}
    }}
    system_account: SYS"""
    with server(tmp_path, accounts, limits="sync_interval: always") as one:
        url = one.url.replace("//", "//app:app@")
        facts = await examine(JetStreamOptions([url], replicas=1))
    assert [(state.name, state.is_synced) for state in facts.states] == [("n1", True)]


async def test_servers_and_monitors_that_do_not_answer_are_named_without_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examination, "CONNECT_PATIENCE_S", 1.0)
    port, monitored = free_port(), free_port()
    with server(tmp_path, f"http: 127.0.0.1:{monitored}") as one:
        facts = await examine(
            JetStreamOptions([one.url, f"nats://user:{PASSWORD}@127.0.0.1:{port}"]),
            [
                f"http://user:{PASSWORD}@127.0.0.1:{monitored}",
                f"http://user:{PASSWORD}@127.0.0.1:{port}",
                f"http://user:{PASSWORD}@host:no-port",
            ],
        )
    assert list(facts.unreachable) == [f"127.0.0.1:{port}"]
    assert [state.name for state in facts.states] == ["n1"]
    assert list(facts.silent_monitors) == [f"127.0.0.1:{port}", "host:no-port"]
    assert PASSWORD not in repr(facts)


async def test_no_server_at_all_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "CONNECT_PATIENCE_S", 0.2)
    with pytest.raises(StartError, match="no server of NATS could be reached"):
        await examine(JetStreamOptions([f"nats://127.0.0.1:{free_port()}"]))
