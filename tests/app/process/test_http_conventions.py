from __future__ import annotations

import os
from typing import TYPE_CHECKING

from riptide.process.http_conventions import OPT_IN, use_stable_names

if TYPE_CHECKING:
    import pytest


def test_the_stable_names_are_chosen_where_nobody_has_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Set first, so that it is taken back.
    monkeypatch.setenv(OPT_IN, "")
    monkeypatch.delenv(OPT_IN)
    use_stable_names()
    assert os.environ[OPT_IN] == "http"


def test_what_the_operator_has_chosen_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OPT_IN, "http/dup")
    use_stable_names()
    assert os.environ[OPT_IN] == "http/dup"
