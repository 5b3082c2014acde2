from __future__ import annotations

import asyncio
import logging

import pytest

from riptide.access import keyring as keyring_module
from riptide.access.keyring import Keyring
from riptide.access.keys import Key
from riptide.errors import KeyFileError, KeysUnavailableError
from riptide_telemetry import ReadingOutcome
from riptide_telemetry.testing import ManualClock
from tests.app.recorder import Recorder
from tests.waiting import eventually, turns

ONE, TWO = Key("one", "ES256", None), Key("two", "ES256", None)


class Source:
    """A source that the test fills, breaks and holds up."""

    def __init__(self, *keys: Key, remote: bool = True) -> None:
        self.name = "a source"
        self.remote = remote
        self.keys = list(keys)
        self.fault: Exception | None = None
        self.reads = 0
        self.answering = asyncio.Event()
        self.answering.set()

    async def read(self) -> list[Key]:
        self.reads += 1
        await self.answering.wait()
        if self.fault is not None:
            raise self.fault
        return list(self.keys)


async def test_a_key_is_found_by_its_algorithm_and_its_id() -> None:
    keyring = Keyring([Source(ONE, TWO, Key(None, "HS256", b""))], 60)
    await keyring.open()
    assert await keyring.find("ES256", "two") == [TWO]
    assert await keyring.find("ES256", None) == [ONE, TWO]
    # A secret has no name of its own.
    assert len(await keyring.find("HS256", "whatever")) == 1


async def test_an_unknown_key_is_asked_for_once_and_not_again_for_a_while() -> None:
    source = Source(ONE)
    keyring = Keyring([source], 60, min_pause_s=3600)
    await keyring.open()
    # An hour later.
    keyring._read_at -= 3600
    source.keys = [TWO]
    assert await keyring.find("ES256", "two") == [TWO]
    assert source.reads == 2
    for _ in range(100):
        assert await keyring.find("ES256", "three") == []
    assert source.reads == 2
    # The old one is gone with the rotation.
    assert await keyring.find("ES256", "one") == []


async def test_all_who_ask_at_the_same_time_wait_for_the_same_answer() -> None:
    source = Source(ONE)
    keyring = Keyring([source], 60, min_pause_s=0)
    await keyring.open()
    source.keys = [TWO]
    source.answering.clear()
    asking = [asyncio.create_task(keyring.find("ES256", "two")) for _ in range(50)]
    await turns()
    asking[0].cancel()
    source.answering.set()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert found[1:] == [[TWO]] * 49
    assert source.reads == 2


@pytest.mark.parametrize("fault", [OSError("down"), ValueError("no keys")])
async def test_a_source_that_fails_keeps_the_keys_that_it_had(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    source = Source(ONE)
    keyring = Keyring([source], 60, min_pause_s=0)
    await keyring.open()
    source.fault = fault
    assert await keyring.find("ES256", "two") == []
    assert await keyring.find("ES256", "one") == [ONE]
    assert "those from before are kept" in caplog.text


async def test_keys_are_read_again_in_time() -> None:
    source = Source(ONE)
    keyring = Keyring([source], 0.02)
    await keyring.open()
    running = asyncio.create_task(keyring.run())
    source.keys = [TWO]
    await eventually(lambda: keyring.readings >= 2)
    assert await keyring.find("ES256", "one") == []
    running.cancel()


async def test_an_issuer_that_is_away_at_the_start_is_no_obstacle_but_nobody_is_let_in(
    caplog: pytest.LogCaptureFixture,
) -> None:
    source = Source(ONE)
    source.fault = OSError("down")
    keyring = Keyring([source], 60, min_pause_s=0.02)
    with caplog.at_level(logging.WARNING):
        await keyring.open()
    assert "no new keys from a source (down)" in caplog.text
    with pytest.raises(KeysUnavailableError) as caught:
        await keyring.find("ES256", "one")
    assert caught.value.retry_after is not None
    source.fault = None
    running = asyncio.create_task(keyring.run())
    await eventually(lambda: keyring.readings)
    assert await keyring.find("ES256", "one") == [ONE]
    running.cancel()


@pytest.mark.parametrize(
    ("fault", "why"),
    [(FileNotFoundError(2, "No such file"), "No such file"), (ValueError("x"), "x")],
)
async def test_a_file_without_keys_keeps_the_service_from_starting(
    fault: Exception, why: str
) -> None:
    source = Source(remote=False)
    source.fault = fault
    with pytest.raises(KeyFileError, match=f"a source has no keys .*{why}"):
        await Keyring([source], 60).open()


async def test_every_reading_is_counted_and_the_keys_grow_older_until_each_source_is_read() -> None:
    recorder, clock = Recorder(), ManualClock()
    steady, failing = Source(ONE), Source(TWO)
    steady.name, failing.name = "steady", "failing"
    failing.fault = OSError("down")
    keyring = Keyring([steady, failing], 60, 0, recorder.lifecycle, clock.seconds)
    clock.advance(5)
    await keyring.open()
    # Never read: as old as the keyring.
    assert keyring.age_s() == 5
    clock.advance(10)
    failing.fault = None
    await keyring.find("ES256", "three")
    assert keyring.age_s() == 0
    clock.advance(20)
    failing.fault = ValueError("no keys")
    await keyring.find("ES256", "three")
    assert keyring.age_s() == 20
    succeeded, failed = ReadingOutcome.SUCCEEDED, ReadingOutcome.FAILED
    read = [outcome for (outcome,) in recorder.of("keys_read", "outcome")]
    assert read == [succeeded, failed, succeeded, succeeded, succeeded, failed]


def test_keys_without_a_source_have_no_age() -> None:
    assert Keyring([], 60).age_s() == 0


async def test_a_source_that_fails_is_tried_again_soon_however_rarely_keys_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keyring_module, "RETRY_READING_S", 0.01)
    source = Source(ONE)
    keyring = Keyring([source], 0.01)
    await keyring.open()
    running = asyncio.create_task(keyring.run())
    source.fault = OSError("down")
    await eventually(lambda: source.reads > 2)
    # From now on a reading that succeeds is followed by a day without one.
    keyring._refresh_s = 86400
    before = source.reads
    await eventually(lambda: source.reads > before + 2)
    source.fault, source.keys = None, [TWO]
    await eventually(lambda: keyring._matching("ES256", "two"))
    running.cancel()


async def test_a_source_is_missing_until_it_has_been_read_once() -> None:
    away, there = Source(ONE), Source(TWO)
    away.name, away.fault = "https://issuer", OSError("away")
    keyring = Keyring([away, there], 60)
    await keyring.open()
    missing = "https://issuer could not be read since the start, and is tried again"
    assert keyring.missing() == missing
    away.fault = None
    await keyring._read()
    assert keyring.missing() is None
    away.fault = OSError("away")
    await keyring._read()
    assert keyring.missing() is None
