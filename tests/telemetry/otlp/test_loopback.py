from __future__ import annotations

import pytest

from riptide_telemetry.otlp.loopback import is_loopback


@pytest.mark.parametrize(
    "url", ["http://localhost:4317", "http://LOCALHOST", "https://127.0.0.2/p", "http://[::1]:1"]
)
def test_an_address_of_this_machine_is_loopback(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize(
    "url",
    ["http://collector:4317", "http://10.0.0.1", "http://localhost.example.com", "http://[::2]"],
)
def test_any_other_address_is_not(url: str) -> None:
    assert not is_loopback(url)
