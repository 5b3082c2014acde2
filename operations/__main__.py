"""``python -m operations``: writes all generated files of documents, dashboards and rules."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from operations import dashboards, metric_reference, setting_reference
from operations.alertmanager import alertmanager_file
from operations.rule_files import rule_files
from operations.rule_tests import rule_tests

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT: Final = Path(__file__).parent.parent

GENERATORS: Final[tuple[Callable[[], Mapping[str, str]], ...]] = (
    metric_reference.generate,
    setting_reference.generate,
    dashboards.generate,
    rule_files,
    rule_tests,
    alertmanager_file,
)
"""Each returns the texts of its files by their path, relative to `ROOT`."""


def main() -> None:
    """Write every generated file."""
    for generate in GENERATORS:
        for name, text in generate().items():
            file = ROOT / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
