from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from riptide.settings.reference import reference
from riptide.settings.settings import PREFIX
from tests import plain

if TYPE_CHECKING:
    from tests.app.cli.conftest import Run, Spawn
    from tests.conftest import StartService


def test_the_help_lists_every_setting_with_its_default(riptide: Run) -> None:
    text = " ".join(riptide("serve", "--help").out.decode().split())
    for title, entries in reference().items():
        assert f" {title} (environment variables): " in text
        for entry in entries:
            row = text[text.index(f" {entry.variable} {entry.meaning}: {entry.allowed} [") :]
            shown = row.partition("[default: ")[2].partition("]")[0].replace("- ", "-")
            assert shown.split(",")[0] == entry.default or shown == "none"
    for unreadable in ("[default: None]", "[default: ()]", "604800]"):
        assert unreadable not in text
    assert "[default: 604800, 7 days]" in text


def test_it_serves_what_is_published_until_it_is_told_to_end(
    riptide: Run, start_service: StartService
) -> None:
    service = start_service()
    assert riptide("publish", "--url", service.url, "logs", stdin=b"one\ntwo\n").code == 0
    replay = ("tail", "logs", "--after", "earliest", "--until", "latest", "--url", service.url)
    assert riptide(*replay) == (0, b"one\ntwo\n", "")
    assert service.stop() == 0


def test_a_variable_that_is_no_setting_is_pointed_out_and_does_not_hinder(
    start_service: StartService,
) -> None:
    service = start_service(prot=9000)
    assert "riptide: RIPTIDE_PROT is not a setting" in service.log
    assert service.stop() == 0


def test_a_wrong_setting_is_told_in_one_line(riptide: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RIPTIDE_PORT", "many")
    result = riptide("serve")
    assert (result.code, result.out, result.err.count("\n")) == (1, b"", 1)
    assert "RIPTIDE_PORT is 'many'" in result.err


@pytest.mark.parametrize("workers", ["0", "1025", "many"])
def test_a_number_of_workers_that_cannot_be_is_wrong_usage(riptide: Run, workers: str) -> None:
    result = riptide("serve", "--workers", workers)
    assert (result.code, result.out, result.err.count("\n")) == (2, b"", 1)
    assert result.err.startswith("riptide: Invalid value for '--workers'")


@pytest.mark.parametrize(("option", "variable"), [("1", "2"), ("2", "1")])
def test_the_option_for_workers_goes_before_the_variable(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    variable: str,
) -> None:
    for name, value in {"WORKERS": variable, "PORT": "0", "LOG": "memory"}.items():
        monkeypatch.setenv(f"{PREFIX}{name}", value)
    spawn: Spawn = request.getfixturevalue("spawn")  # with these variables
    process = spawn("serve", "--workers", option)
    assert process.stderr
    serving = None
    while not serving:
        line = process.stderr.readline()
        assert line, "it ended before it served"
        serving = re.search(rb"serving on (http://\S+)", line)
    group, *_ = plain.get(f"{serving[1].decode()}/metrics/targets").json()
    # Only one of several workers has a number.
    assert ("worker" in group["labels"]) == (option == "2")
    process.terminate()
    process.communicate()
    assert process.returncode == 0
