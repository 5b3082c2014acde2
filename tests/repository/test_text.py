"""What stands in the files: nothing of anybody's machine, and no silence without its reason."""

from __future__ import annotations

import io
import re
import tokenize

from tests.repository.sources import ROOT, python_files, repository_files

# Initials in brackets, so that this file does not find itself.
MACHINE_PATHS = re.compile(r"(?<![\w.~/$}-])/(?:[w]ork|[r]oot|[h]ome|[U]sers)/\w")
SILENCED = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:)")
REASONED = re.compile(
    r"#\s*(?:noqa(?::\s*[A-Z]+[0-9]+(?:\s*,\s*[A-Z]+[0-9]+)*)"
    r"|type:\s*ignore\[[\w, -]+\]|pragma: no cover)"
    r"\s+#\s*\S.{5,}"
)
BLANKET = re.compile(r"#\s*(?:noqa(?!:)|type:\s*ignore(?!\[))")


def _texts() -> list[tuple[str, str]]:
    texts = []
    for file in repository_files():
        try:
            texts.append((str(file), (ROOT / file).read_text(encoding="utf-8")))
        except UnicodeDecodeError:
            continue
    return texts


def test_no_file_knows_the_machine_it_was_written_on() -> None:
    found = [
        f"{name}:{number}: {line.strip()[:120]}"
        for name, text in _texts()
        for number, line in enumerate(text.splitlines(), 1)
        if MACHINE_PATHS.search(line)
    ]
    assert found == []


def _silenced_lines() -> list[tuple[str, str]]:
    """Return the comments that silence a tool, with where they stand."""
    found = []
    for file in python_files():
        with io.BytesIO((ROOT / file).read_bytes()) as source:
            found += [
                (f"{file}:{token.start[0]}", token.string)
                for token in tokenize.tokenize(source.readline)
                if token.type == tokenize.COMMENT and SILENCED.search(token.string)
            ]
    return found


def test_no_tool_is_silenced_without_a_reason() -> None:
    unreasoned = [
        f"{where}: {comment}" for where, comment in _silenced_lines() if not REASONED.match(comment)
    ]
    assert unreasoned == []


def test_no_tool_is_silenced_altogether() -> None:
    assert [f"{w}: {comment}" for w, comment in _silenced_lines() if BLANKET.search(comment)] == []


def test_text_files_end_with_one_line_break() -> None:
    untidy = [
        name
        for name, text in _texts()
        if text
        and name.endswith((".py", ".toml", ".md", ".html", ".yaml", ".yml"))
        and (not text.endswith("\n") or text.endswith("\n\n"))
    ]
    assert untidy == []
