from __future__ import annotations

import pytest

from riptide.settings.reference import reference
from riptide.settings.settings import GROUPS, Settings

ENTRIES = {entry.variable: entry for entries in reference().values() for entry in entries}


def test_every_setting_stands_in_one_group_in_the_order_of_their_definition() -> None:
    assert list(ENTRIES) == [f"RIPTIDE_{name.upper()}" for name in Settings.model_fields]
    assert list(reference()) == list(GROUPS)
    assert all(reference().values())


@pytest.mark.parametrize(
    ("variable", "default", "in_units"),
    [
        ("RIPTIDE_HOST", "127.0.0.1", ""),
        ("RIPTIDE_PORT", "8080", ""),
        ("RIPTIDE_ALLOW_ANONYMOUS", "false", ""),
        ("RIPTIDE_TOKEN_SECRET_FILE", "", ""),
        ("RIPTIDE_ALLOWED_HOSTS", "", ""),
        ("RIPTIDE_DATA_DIR", "riptide-data", ""),
        ("RIPTIDE_RETENTION_MESSAGES", "1000000", ""),
        ("RIPTIDE_RETENTION_SECONDS", "604800", "7 days"),
        ("RIPTIDE_BODY_TIMEOUT_SECONDS", "60", "1 minute"),
        ("RIPTIDE_MAX_LAG_SECONDS", "300", "5 minutes"),
        ("RIPTIDE_HEARTBEAT_SECONDS", "15", ""),
        ("RIPTIDE_RING_BYTES", "16777216", "16 MiB"),
        ("RIPTIDE_ACCEPT_RATE", "2000", ""),
    ],
)
def test_a_default_is_what_would_be_given_and_says_what_that_is(
    variable: str, default: str, in_units: str
) -> None:
    entry = ENTRIES[variable]
    assert (entry.default, entry.in_units) == (default, in_units)


def test_what_is_given_as_the_default_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable, entry in ENTRIES.items():
        if entry.default:
            monkeypatch.setenv(variable, entry.default)
    assert Settings() == Settings.model_construct()
