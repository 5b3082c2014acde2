"""Every test of this folder runs once over each transport."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.contract.consumers import TRANSPORTS

if TYPE_CHECKING:
    from tests.contract.consumers import Transport


@pytest.fixture(params=TRANSPORTS, ids=lambda transport: transport.name)
def transport(request: pytest.FixtureRequest) -> Transport:
    chosen: Transport = request.param
    return chosen
