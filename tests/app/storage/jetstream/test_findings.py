from __future__ import annotations

from riptide.storage.jetstream.findings import Level, ok, risk, wrong


def test_each_level_has_its_word() -> None:
    found = [make("room", "much") for make in (ok, risk, wrong)]
    assert [each.level for each in found] == list(Level)
    assert [each.level.value for each in found] == ["ok", "risk", "wrong"]
    assert {(each.about, each.text) for each in found} == {("room", "much")}
