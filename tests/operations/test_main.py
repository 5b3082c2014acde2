from __future__ import annotations

from operations.__main__ import GENERATORS, ROOT


def test_regeneration_changes_no_committed_file() -> None:
    stale = [
        name
        for generate in GENERATORS
        for name, text in generate().items()
        if (ROOT / name).read_text(encoding="utf-8") != text
    ]
    assert stale == [], "python -m operations writes them anew"
