from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
import time
from typing import TYPE_CHECKING

import nkeys
import pytest
from nats.aio.client import Client
from nats.errors import SlowConsumerError

from operations.drill.certificates import make_certificate
from riptide.errors import StartError
from riptide.storage.jetstream import engine as engine_module
from riptide.storage.jetstream.engine import Engine, NoAnswerError, RefusedError
from riptide.storage.jetstream.options import JetStreamOptions
from riptide.storage.jetstream.stored_records import StoredRecords
from riptide.storage.jetstream.stream import find_or_create, look
from riptide.storage.jetstream.subjects import Subjects
from tests.app.messages import EPOCH
from tests.app.storage.jetstream.conftest import KEEP
from tests.app.storage.jetstream.records import make_record
from tests.nats_servers import server
from tests.waiting import DEADLINE_S, eventually, in_time

if TYPE_CHECKING:
    from pathlib import Path

    from nats.aio.msg import Msg

PASSWORD = "pa55word-of-nobody"
# As that user's server refuses it.
WRONG = "Authorization Violation"


async def _connected(options: JetStreamOptions) -> tuple[int, int]:
    """Connect and close, however long that takes; return the version of the server."""
    engine = Engine(options, lambda: None)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine_module, "START_PATIENCE_S", DEADLINE_S)
            await in_time(engine.connect())
        await engine.ask("INFO")
        return engine.version
    finally:
        await in_time(engine.close())


async def _refusal(options: JetStreamOptions) -> str:
    """Return why there is no connection."""
    engine = Engine(options, lambda: None)
    with pytest.raises(StartError) as error:
        await in_time(engine.connect())
    await in_time(engine.close())
    return str(error.value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Starts that give up soon, after as many tries as a slow machine makes."""
    monkeypatch.setattr(engine_module, "START_PATIENCE_S", 2.0)
    monkeypatch.setattr(engine_module, "RECONNECT_WAIT_S", 0.01)


async def test_a_connection_tells_of_the_server(engine: Engine) -> None:
    assert engine.version >= (2, 12)
    assert engine.max_payload == 1024 * 1024
    assert engine.lost_at is None


async def test_a_server_that_is_killed_is_found_again_with_all_that_it_has(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "riptide.log")
    returns = asyncio.Event()
    with server(tmp_path) as one:
        url = f"nats://nobody:{PASSWORD}@127.0.0.1:{one.port}"
        options = JetStreamOptions([url], replicas=1, instance="i-1")
        engine = Engine(options, returns.set)
        await engine.connect()
        subjects = Subjects(options.stream)
        await find_or_create(engine, options, subjects, KEEP)
        stored, told = StoredRecords(engine, subjects), list[str]()

        async def take(message: Msg) -> None:
            told.append(message.subject)

        await engine.subscribe(subjects.live("a"), take)
        await stored.store("a", [make_record(1)], 0, timeout_s=10)
        await eventually(lambda: len(told) == 1)

        before = time.monotonic()
        one.kill()
        lost_at = await eventually(lambda: engine.lost_at)
        assert before <= lost_at <= time.monotonic()
        for ask in (look(engine, options.stream), stored.last("a"), stored.put_barrier(EPOCH)):
            with pytest.raises(NoAnswerError, match="no connection"):
                await ask
        monkeypatch.setattr(engine_module, "REQUEST_TIMEOUT_S", 0.1)
        with pytest.raises(NoAnswerError):
            await stored.several("a", 1)
        monkeypatch.undo()

        one.start()
        await in_time(returns.wait())
        assert engine.lost_at is None
        assert engine.reconnects == 1
        last = await stored.last("a")
        assert last is not None
        assert last.record == make_record(1)
        assert len(await stored.several("a", 1)) == 1
        await stored.store("a", [make_record(2)], 1, timeout_s=10)
        # Subscriptions go on.
        await eventually(lambda: len(told) == 2)
        await engine.close()
    assert "the connection to NATS was lost: trying again" in caplog.messages
    assert "connected to NATS again" in caplog.messages
    assert PASSWORD not in caplog.text


async def test_a_close_is_no_loss(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    await engine.close()
    await engine.close()
    assert caplog.messages == []
    with pytest.raises(NoAnswerError):
        await engine.ask("INFO")


@pytest.mark.usefixtures("impatient")
async def test_no_server_at_the_start_is_waited_for_and_then_said() -> None:
    options = JetStreamOptions([f"nats://user:{PASSWORD}@127.0.0.1:1", "nats://127.0.0.1:2"])
    before = time.monotonic()
    text = await _refusal(options)
    assert time.monotonic() - before >= engine_module.START_PATIENCE_S
    assert "127.0.0.1:1, 127.0.0.1:2" in text
    assert "RIPTIDE_JETSTREAM_URLS" in text
    assert "Connect" in text
    assert PASSWORD not in text


async def test_an_address_that_is_none_is_refused_at_once() -> None:
    text = await _refusal(JetStreamOptions([f"nats://user:{PASSWORD}@127.0.0.1:no-port"]))
    assert "RIPTIDE_JETSTREAM_URLS" in text
    assert PASSWORD not in text


async def test_a_server_that_comes_while_it_is_waited_for_is_taken(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.stop()
        engine = Engine(JetStreamOptions([one.url]), lambda: None)
        connecting = asyncio.create_task(engine.connect())
        await asyncio.sleep(0)
        one.start()
        await in_time(connecting)
        assert engine.lost_at is None
        await engine.close()


async def test_of_several_servers_one_that_runs_is_taken(nats_url: str) -> None:
    await _connected(JetStreamOptions(["nats://127.0.0.1:1", nats_url]))


@pytest.mark.usefixtures("impatient")
async def test_a_user_and_the_password_of_a_file_are_let_in_and_others_are_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "password"
    file.write_text(f"{PASSWORD}\n")
    with server(tmp_path / "n", f"authorization {{ user: me, password: {PASSWORD} }}") as one:
        options = JetStreamOptions([one.url], user="me", password_file=file)
        await _connected(options)
        await _connected(JetStreamOptions([f"nats://me:{PASSWORD}@127.0.0.1:{one.port}"]))
        texts = [
            await _refusal(dataclasses.replace(options, user="you")),
            await _refusal(JetStreamOptions([f"nats://you:{PASSWORD}@127.0.0.1:{one.port}"])),
            await _refusal(JetStreamOptions([one.url])),
        ]
    for text in texts:
        assert WRONG in text
        assert "credentials" in text
    assert PASSWORD not in "".join(texts) + caplog.text


@pytest.mark.usefixtures("impatient")
async def test_the_token_of_a_file_is_let_in_and_others_are_not(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(PASSWORD)
    with server(tmp_path / "n", f"authorization {{ token: {PASSWORD} }}") as one:
        options = JetStreamOptions([one.url], token_file=file)
        await _connected(options)
        file.write_text("other")
        assert WRONG in await _refusal(options)


@pytest.mark.usefixtures("impatient")
async def test_the_nkey_of_a_file_is_let_in_and_others_are_not(tmp_path: Path) -> None:
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER)
    public = nkeys.from_seed(bytearray(seed)).public_key.decode()
    file = tmp_path / "user.nk"
    file.write_bytes(seed)
    with server(tmp_path / "n", f"authorization {{ users: [{{ nkey: {public} }}] }}") as one:
        options = JetStreamOptions([one.url], nkey_file=file)
        await _connected(options)
        file.write_bytes(nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER))
        text = await _refusal(options)
    assert WRONG in text
    assert seed.decode() not in text


@pytest.mark.parametrize(
    "field", ["password_file", "token_file", "nkey_file", "credentials_file", "tls_ca"]
)
@pytest.mark.parametrize("content", [None, b"\xff\xfe", "directory"])
@pytest.mark.usefixtures("impatient")
async def test_a_file_that_cannot_be_read_is_named(
    nats_url: str, tmp_path: Path, field: str, content: bytes | str | None
) -> None:
    file = tmp_path / "secret"
    if content == "directory":
        file.mkdir()
    elif isinstance(content, bytes):
        file.write_bytes(content)
    options = JetStreamOptions([nats_url], **{field: file})  # type: ignore[arg-type]  # of paths
    assert str(file) in await _refusal(options)


@pytest.mark.parametrize("content", ["", "SUAnonsense", "hello\nworld"])
@pytest.mark.parametrize("field", ["nkey_file", "credentials_file"])
@pytest.mark.usefixtures("impatient")
async def test_a_file_without_a_key_is_named_and_not_quoted(
    nats_url: str, tmp_path: Path, field: str, content: str
) -> None:
    file = tmp_path / "secret"
    file.write_text(content)
    options = JetStreamOptions([nats_url], **{field: file})  # type: ignore[arg-type]  # of paths
    text = await _refusal(options)
    assert str(file) in text
    assert "nonsense" not in text


@pytest.mark.usefixtures("impatient")
async def test_a_server_is_believed_by_the_certificate_of_its_authority_alone(
    tmp_path: Path,
) -> None:
    certificate, key = make_certificate(tmp_path)
    (tmp_path / "other").mkdir()
    other, _ = make_certificate(tmp_path / "other")
    tls = f'tls {{ cert_file: "{certificate}", key_file: "{key}" }}'
    with server(tmp_path / "n", tls) as one:
        options = JetStreamOptions([one.url], tls_ca=certificate)
        await _connected(options)
        await _connected(dataclasses.replace(options, urls=[f"tls://localhost:{one.port}"]))
        for ca in (other, None):
            text = await _refusal(
                dataclasses.replace(options, urls=[f"tls://127.0.0.1:{one.port}"], tls_ca=ca)
            )
            assert "CERTIFICATE_VERIFY_FAILED" in text


@pytest.mark.usefixtures("impatient")
async def test_an_instance_shows_its_own_certificate_where_servers_want_one(
    tmp_path: Path,
) -> None:
    certificate, key = make_certificate(tmp_path)
    tls = (
        f'tls {{ cert_file: "{certificate}", key_file: "{key}", '
        f'ca_file: "{certificate}", verify: true }}'
    )
    with server(tmp_path / "n", tls) as one:
        options = JetStreamOptions([one.url], tls_ca=certificate)
        assert "127.0.0.1" in await _refusal(options)
        await _connected(dataclasses.replace(options, tls_certificate=certificate, tls_key=key))
        text = await _refusal(
            dataclasses.replace(options, tls_certificate=certificate, tls_key=tmp_path / "none")
        )
        assert "the files of TLS for NATS" in text
        assert str(certificate) in text


def _credentials(seed: str) -> str:
    return (
        "-----BEGIN NATS USER JWT-----\neyJ0eXAi.eyJqdGki.abc\n------END NATS USER JWT------\n\n"
        "************************* IMPORTANT *************************\n"
        f"-----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
    )


@pytest.mark.usefixtures("impatient")
async def test_credentials_as_nsc_writes_them_are_shown_to_the_servers(
    nats_url: str, tmp_path: Path
) -> None:
    """The server of this test wants none, and takes any."""
    file = tmp_path / "user.creds"
    seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
    file.write_text(_credentials(seed))
    await _connected(JetStreamOptions([nats_url], credentials_file=file))
    file.write_text(_credentials("SUAnonsense"))
    text = await _refusal(JetStreamOptions([nats_url], credentials_file=file))
    assert text == f"the file {file} has no seed of an nkey"


async def test_an_error_of_the_servers_has_their_number_and_their_words(engine: Engine) -> None:
    with pytest.raises(RefusedError, match=r"stream not found \(NATS error 10059\)") as error:
        await engine.ask("STREAM.INFO.none")
    assert error.value.code == 10059


async def test_what_nobody_answers_is_no_answer(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "REQUEST_TIMEOUT_S", 0.1)
    for subject in ("nobody", "$JS.API.NONSENSE"):
        with pytest.raises(NoAnswerError):
            await engine.publish(subject, b"", {}, timeout_s=0.1)
    with pytest.raises(NoAnswerError):
        await engine.ask_for_messages("DIRECT.GET.none", {"seq": 1, "batch": 1})


async def test_a_question_that_is_none_is_refused_with_its_reason(
    engine: Engine, stored: StoredRecords, options: JetStreamOptions
) -> None:
    await stored.store("a", [make_record(1)], 0, timeout_s=10)
    with pytest.raises(RefusedError) as error:
        await engine.ask_for_messages(f"DIRECT.GET.{options.stream}", {"batch": 1})
    assert 400 <= error.value.code < 500


async def test_answers_that_are_late_are_nobodys(
    engine: Engine,
    stored: StoredRecords,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    await stored.store("a", [make_record(1)], 0, timeout_s=10)
    with monkeypatch.context() as patch:
        patch.setattr(engine_module, "REQUEST_TIMEOUT_S", 0.0)
        for _ in range(20):
            with pytest.raises(NoAnswerError):
                await stored.several("a", 1)
    await engine.flush()
    assert len(await stored.several("a", 1)) == 1
    assert not engine._collecting
    assert caplog.messages == []


async def test_many_questions_at_once_have_their_own_answers(stored: StoredRecords) -> None:
    for topic in range(1, 30):
        await stored.store(f"t{topic}", [make_record(topic)], 0, timeout_s=10)
    found = await in_time(
        asyncio.gather(*(stored.several(f"t{topic}", 1) for topic in range(1, 30)))
    )
    assert [each[0].record for each in found] == [make_record(n) for n in range(1, 30)]


async def test_messages_that_came_too_fast_for_the_client_are_said_and_looked_for(
    options: JetStreamOptions, caplog: pytest.LogCaptureFixture
) -> None:
    looks = 0

    def look_again() -> None:
        nonlocal looks
        looks += 1

    engine = Engine(options, look_again)
    await engine.connect()
    started, may = asyncio.Event(), asyncio.Event()

    async def slow(_: Msg) -> None:
        started.set()
        await may.wait()

    subscription = await engine.subscribe("fast", slow)
    subscription._pending_bytes_limit = 10
    await engine.send("fast", b"1", {})
    await in_time(started.wait())
    for _ in range(3):
        await engine.send("fast", b"x" * 8, {})
    await eventually(lambda: looks)
    assert "messages from NATS came too fast" in caplog.text
    may.set()
    await engine.unsubscribe(subscription)
    await engine.close()


async def test_other_errors_of_a_connection_are_said(
    engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    await engine._note_error(ValueError("of some kind"))
    assert caplog.messages == ["the connection to NATS: of some kind"]
    caplog.clear()
    # While there is none, one loss is enough to know.
    engine.lost_at = time.monotonic()
    await engine._note_error(ConnectionRefusedError("again"))
    assert caplog.messages == []
    engine.lost_at = None
    await engine._note_error(SlowConsumerError(subject="a", reply="", sid=1, sub=None))  # type: ignore[arg-type]  # it has none here
    assert "too fast" in caplog.text


async def test_a_domain_is_part_of_what_is_asked(tmp_path: Path) -> None:
    with server(tmp_path) as one:
        one.stop()
        config = "jetstream: { domain: hub }"
        one._more = config
        one.start()
        await _connected(JetStreamOptions([one.url], domain="hub"))


async def test_the_servers_know_the_connection_by_the_name_of_the_instance(
    options: JetStreamOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    names: list[object] = []
    connect = Client.connect

    async def noted(client: Client, **options: object) -> None:
        names.append(options["name"])
        await connect(client, **options)  # type: ignore[arg-type]  # passed on

    monkeypatch.setattr(Client, "connect", noted)
    await _connected(dataclasses.replace(options, instance="eu-1"))
    assert names == ["riptide eu-1"]


async def test_what_was_sent_has_been_taken_once_it_is_flushed(
    engine: Engine, nats_url: str
) -> None:
    other = Engine(JetStreamOptions([nats_url]), lambda: None)
    await other.connect()
    heard: list[str] = []

    async def hear(message: Msg) -> None:
        heard.append(message.subject)

    for number in range(100):
        await other.subscribe(f"flushed.{number}", hear)
        await other.flush()
        await engine.send(f"flushed.{number}", b"", {})
    await eventually(lambda: len(heard) == 100)
    await other.close()


async def test_what_is_not_allowed_is_known_and_what_is(tmp_path: Path) -> None:
    users = """authorization { users: [{ user: few, password: few, permissions: {
        publish: [allowed], subscribe: ["_INBOX_riptide.>", allowed]
    } }] }"""
    with server(tmp_path, users) as one:
        engine = Engine(JetStreamOptions([one.url.replace("//", "//few:few@")]), lambda: None)
        await engine.connect(10)
        for _ in range(50):
            assert await engine.may_publish("allowed", b"", {})
            assert not await engine.may_publish("denied", b"", {})
            assert await engine.may_subscribe("allowed")
            assert not await engine.may_subscribe("denied")
        await engine.close()


async def test_all_that_listen_are_asked_and_nobody_may(engine: Engine, nats_url: str) -> None:
    assert await engine.ask_all("nobody.listens", 60) == []
    other = Engine(JetStreamOptions([nats_url]), lambda: None)
    await other.connect()

    async def answer(message: Msg) -> None:
        await message.respond(b'{"a": 1}')

    for _ in range(2):
        await other.subscribe("somebody.listens", answer)
    await other.flush()
    assert await engine.ask_all("somebody.listens", 1) == [{"a": 1}] * 2
    await other.close()
    assert engine.server_name == "n1"
    assert engine.other_servers() == []
