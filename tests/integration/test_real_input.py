"""A large text of the machine goes in by the command line and comes out of every transport."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contract.consumers import TRANSPORTS
from tests.service import RIPTIDE
from tests.waiting import DEADLINE_S

if TYPE_CHECKING:
    from tests.contract.consumers import Transport
    from tests.service import Service

ENOUGH_LINES = 100_000
LINES = 150_000


def _package_index() -> bytes:
    """Return Debian's package index, or else the sources of Python's own library."""
    if shutil.which("apt-cache"):
        text = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, check=False).stdout
        if text.count(b"\n") >= ENOUGH_LINES:
            return b"\n".join(text.split(b"\n")[:LINES])
    sources = sorted(Path(random.__file__).parent.rglob("*.py"))
    texts = []
    for source in sources:
        try:
            texts.append(source.read_text(encoding="utf-8"))
        except UnicodeDecodeError:
            continue
    return "".join(texts).encode()


@pytest.fixture(scope="module")
def text() -> bytes:
    """Real lines, and the kinds that break parsers and framings among them."""
    odd = [
        "",
        " ",
        "\t'single' \"double\" \\ back\\slash \\u0041",
        "data: not an event",
        "id: 7",
        "event: end",
        ": comment",
        '{"event":"end"}',
        "null",
        "carriage\rreturn at the end\r",
        "separators \u2028 \u2029 \x85 \x0b \x0c \x1c \x1d \x1e",
        "🌊 Привет, 世界! \u202eright to left\u202c e\u0301",
        "\ufeffbyte order mark",
        "long " * 150_000,
    ]
    lines = _package_index().strip(b"\n").split(b"\n")
    assert len(lines) >= ENOUGH_LINES
    lines[1000:1000] = [line.encode() for line in odd]
    return b"\n".join(lines) + b"\n"


@pytest.fixture(scope="module")
def published(
    shared_service: Service, text: bytes, tmp_path_factory: pytest.TempPathFactory
) -> str:
    """The topic into which ``riptide publish`` has put the text."""
    file = tmp_path_factory.mktemp("text") / "text"
    file.write_bytes(text)
    done = subprocess.run(
        [str(RIPTIDE), "publish", "index", str(file), "--url", shared_service.url],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    count = text.count(b"\n")
    assert f"published {count} messages" in done.stderr.replace(",", "")
    return "index"


@pytest.mark.parametrize("protocol", ["sse", "ndjson", "websocket"])
def test_a_text_comes_out_of_tail_as_it_went_into_publish(
    shared_service: Service, published: str, text: bytes, protocol: str
) -> None:
    command = [str(RIPTIDE), "tail", published, "--protocol", protocol]
    command += ["--url", shared_service.url]
    done = subprocess.run(
        [*command, "--after", "earliest", "--until", "latest"], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert hashlib.sha256(done.stdout).hexdigest() == hashlib.sha256(text).hexdigest()


def test_a_pipe_carries_a_text_to_consumers_that_are_already_there(
    shared_service: Service, text: bytes
) -> None:
    lines = text.split(b"\n")[:30_000]
    piped = b"\n".join(lines) + b"\n"
    tails = [
        subprocess.Popen(
            [
                *(RIPTIDE, "tail", "piped", "--protocol", protocol, "--url", shared_service.url),
                *("--after", "earliest", "--count", str(len(lines))),
            ],
            stdout=subprocess.PIPE,
        )
        for protocol in ("sse", "ndjson", "websocket")
    ]
    subprocess.run(
        [RIPTIDE, "publish", "piped", "--quiet", "--url", shared_service.url],
        input=piped,
        check=True,
    )
    for tail in tails:
        output, _ = tail.communicate(timeout=DEADLINE_S)
        assert tail.returncode == 0
        assert hashlib.sha256(output).hexdigest() == hashlib.sha256(piped).hexdigest()


@pytest.mark.parametrize("transport", TRANSPORTS, ids=lambda transport: transport.name)
async def test_a_consumer_cut_off_at_random_gets_all_of_it_once(
    shared_service: Service, published: str, text: bytes, transport: Transport
) -> None:
    cuts = random.Random(transport.name)
    digest = hashlib.sha256()
    position, received, visits = "earliest", 0, 0
    total = text.count(b"\n")
    while received < total:
        visits += 1
        stay = cuts.choice([1, 17, 4_000, 30_000])
        async with transport.open(shared_service, published, after=position) as consumer:
            first = await consumer.next()
            assert first["event"] == ("opened" if position == "earliest" else "resumed")
            for _ in range(min(stay, total - received)):
                record = await consumer.next("message")
                digest.update(record["data"].encode() + b"\n")
                position = record["id"]
                received += 1
    assert visits > 3
    assert digest.hexdigest() == hashlib.sha256(text).hexdigest()
