from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from riptide.access.exposure import check_exposure, has_access_control
from riptide.errors import ExposedError, InvalidSettingsError
from riptide.settings.settings import Settings

KEYS: list[dict[str, Any]] = [
    {"token_secret_file": Path("x")},
    {"jwks_file": Path("x")},
    {"jwks_url": "https://id.example/keys"},
]


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_on_loopback_nothing_is_asked(address: str) -> None:
    check_exposure(Settings(), address)


@pytest.mark.parametrize("address", ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0"])
def test_beyond_loopback_somebody_has_to_say_what_is_meant(address: str) -> None:
    with pytest.raises(ExposedError) as caught:
        check_exposure(Settings(), address)
    for setting in ("RIPTIDE_JWKS_URL", "RIPTIDE_ALLOW_ANONYMOUS=true", address):
        assert setting in str(caught.value)
    check_exposure(Settings(allow_anonymous=True), address)
    for keys in KEYS:
        check_exposure(Settings(**keys), address)


def test_everybody_and_those_with_a_token_contradict_each_other() -> None:
    with pytest.raises(InvalidSettingsError, match="RIPTIDE_ALLOW_ANONYMOUS"):
        check_exposure(Settings(allow_anonymous=True, jwks_file=Path("x")), "127.0.0.1")


def test_with_keys_there_is_access_control() -> None:
    assert not has_access_control(Settings())
    assert all(has_access_control(Settings(**keys)) for keys in KEYS)
