from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

import pytest

from riptide.cli.engine import engine_options, log_records_told
from riptide.cli.errors import CommandError
from riptide.errors import StartError
from riptide.settings.settings import load_settings
from riptide.storage.jetstream.engine import connected
from tests.nats_servers import one_server

if TYPE_CHECKING:
    from pathlib import Path


def test_without_the_client_of_nats_it_is_said_how_to_have_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(CommandError, match=r"riptide-streaming\[jetstream\]"):
        engine_options(load_settings())


async def test_a_connection_is_by_the_settings_of_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with one_server(tmp_path) as url:
        monkeypatch.setenv("RIPTIDE_JETSTREAM_URLS", url)
        options = engine_options(load_settings())
        async with connected(options) as engine:
            assert engine.server_name == "n1"
    with pytest.raises(StartError, match="no server of NATS"):
        async with connected(options, 0.2):
            pass


def test_log_records_are_lines_for_people_meanwhile() -> None:
    lines: list[str] = []
    logger = logging.getLogger("riptide.log")
    level = logger.level
    with log_records_told(lines.append):
        logger.info("created, with %d", 3)
        logger.debug("not for people")
    logger.info("later")
    assert lines == ["created, with 3"]
    assert logger.level == level
