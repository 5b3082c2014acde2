from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from riptide.errors import AddressError, ExposedError
from riptide.server.listener import listen
from riptide.settings.settings import Settings
from riptide.workers.single import serve_alone
from tests.service import RIPTIDE

if TYPE_CHECKING:
    from tests.conftest import StartService


def test_metrics_on_a_port_of_their_own_are_announced_before_the_service(
    start_service: StartService,
) -> None:
    service = start_service(metrics_port=0)
    assert RIPTIDE in service.command
    metrics, serving = (
        service.log.index(text) for text in ("metrics and health on http://", "serving on http://")
    )
    assert metrics < serving


def test_an_address_in_use_ends_the_start_before_anything_is_opened() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AddressError, match=f"port {port}"):
            serve_alone(Settings(log="memory", port=port))


def test_a_service_that_would_be_open_to_all_does_not_start() -> None:
    with pytest.raises(ExposedError, match="RIPTIDE_ALLOW_ANONYMOUS"):
        serve_alone(Settings(log="memory", host="0.0.0.0", port=0))
