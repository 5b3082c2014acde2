"""The table is the one that operators read, and each case has its sentence."""

from __future__ import annotations

import re
from pathlib import Path

from riptide.storage.jetstream.durability import TABLE, explain

DOCUMENT = Path(__file__).parents[4] / "docs" / "cluster.md"


def test_the_table_is_that_of_the_document() -> None:
    rows = re.findall(
        r"^\| (1|3) \| (default|`always`)[^|]* \| ([^|]+) \| ([^|]+) \|$",
        DOCUMENT.read_text(),
        re.MULTILINE,
    )
    table = {(int(replicas), sync != "default"): (a, b) for replicas, sync, a, b in rows}
    assert table == TABLE


def test_each_case_has_its_row_in_a_sentence() -> None:
    assert explain(1, is_synced=False) == (
        "1 replica, sync_interval as by default: what was answered with 202 survives kill -9 of "
        "the server; it does not survive loss of power: up to 2 minutes. Loss of the machine or "
        "its disk"
    )
    always = explain(3, is_synced=True)
    assert always.startswith("3 replicas, sync_interval always:")
    assert "loss of one machine; kill -9 of any number of servers, also loss of power" in always
    assert "it does not survive loss of two disks" in always
    assert "not known, so as by default" in explain(3, is_synced=None)
    assert "2 replicas survive no more than 1" in explain(2, is_synced=True)
    assert "4 replicas survive no more than 3" in explain(4, is_synced=True)
    assert "one machine more" in explain(5, is_synced=True)
