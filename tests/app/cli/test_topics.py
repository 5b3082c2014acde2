from __future__ import annotations

from typing import TYPE_CHECKING

import orjson
import pytest

from tests.issuer import SECRET, Issuer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.app.cli.conftest import Run
    from tests.app.cli.scripted_service import ScriptedService
    from tests.conftest import StartService
    from tests.service import Service


@pytest.fixture
def real(start_service: StartService, monkeypatch: pytest.MonkeyPatch) -> Service:
    service = start_service(log="memory")
    monkeypatch.setenv("RIPTIDE_URL", service.url)
    return service


def test_topics_are_printed_as_a_table(riptide: Run, real: Service) -> None:
    real.publish("orders.eu", *range(1200))
    _, newest = real.publish("news", 1)
    result = riptide("topics")
    assert (result.code, result.err) == (0, "")
    lines = result.out.decode().splitlines()
    assert [line.split()[:3] for line in lines] == [
        ["topic", "messages", "consumers"],
        ["news", "1", "0"],
        ["orders.eu", "1200", "0"],
    ]
    assert lines[1].endswith(f"  {newest}")
    assert len({line.index(line.split()[3]) for line in lines}) == 1


def test_names_alone_and_whole_records_are_for_programs(riptide: Run, real: Service) -> None:
    _, newest = real.publish("b", 1, 2)
    real.publish("a", 1)
    assert riptide("topics", "--output", "name").out == b"a\nb\n"
    records = riptide("topics", "--output", "record").out.splitlines()
    assert orjson.loads(records[1]) == {
        "topic": "b",
        "newest": newest,
        "messages": 2,
        "consumers": 0,
    }


def test_a_list_of_many_pages_is_printed_whole(riptide: Run, real: Service) -> None:
    names = [f"t{number:04}" for number in range(1001)]
    for name in names:
        real.publish(name, 1)
    assert riptide("topics", "--output", "name").out.decode().split() == names


@pytest.mark.usefixtures("real")
def test_where_there_are_none_nothing_is_printed(riptide: Run) -> None:
    assert riptide("topics") == (0, b"", "")


def test_the_topics_are_those_of_the_token(
    riptide: Run, start_service: StartService, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(SECRET)
    service = start_service(log="memory", token_secret_file=tmp_path / "secret")
    all_of_them = ("--token", Issuer("HS256", None).token(), "--url", service.url)
    for topic in ("a", "b"):
        assert riptide("publish", topic, *all_of_them, stdin=b"1").code == 0
    one = ("--token", Issuer("HS256", None).token({"subscribe": ["b"]}), "--url", service.url)
    assert riptide("topics", "--output", "name", *one).out == b"b\n"
    refused = riptide("topics", "--url", service.url)
    assert (refused.code, refused.out) == (1, b"")
    assert "a token is needed" in refused.err


def test_what_is_no_such_service_is_told_in_one_line(
    riptide: Run, service: ScriptedService
) -> None:
    for url in (f"{service.url}/below", "http://127.0.0.1:1"):
        result = riptide("topics", "--url", url)
        assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
        assert url in result.err
