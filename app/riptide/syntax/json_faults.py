"""Says what is wrong with a text that orjson does not read, and what to do about it."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING

from riptide.errors import InvalidMessageError

if TYPE_CHECKING:
    import orjson

_NUMBER = re.compile(r"[-+.0-9eE]+")
# What programs write for numbers that JSON does not have. orjson stops at a sign or behind it.
_NO_NUMBER = re.compile(r"[-+]?(?:nan|inf(?:inity)?)\b", re.IGNORECASE)
_SHOWN = 32


def explain(text: bytes, error: orjson.JSONDecodeError) -> InvalidMessageError:
    """Return the error for a message's text.

    Some texts are JSON (RFC 8259), but beyond what programs can be expected to read: the error
    then does not say that they are not.
    """
    return _beyond_reach(text, error) or InvalidMessageError(
        "not valid JSON ({}): {}".format(*_mistake(text, error))
    )


def _beyond_reach(text: bytes, error: orjson.JSONDecodeError) -> InvalidMessageError | None:
    match error.msg:
        case "number is infinity when parsed as double":
            number = _NUMBER.match(error.doc, error.pos)
            named = _shorten(number[0] if number else "")
            return InvalidMessageError(
                f"the number {named} is too large: numbers go up to 1.8e308 (IEEE 754, double "
                "precision), so send it as a string"
            )
        case _ if "surrogate in string" in error.msg:
            return InvalidMessageError(
                f"a string has half of a surrogate pair (line {error.lineno} column "
                f"{error.colno}), which is no character: escape both halves, or send \\ufffd"
            )
        case "depth limit exceeded" if text.rstrip().endswith((b"]", b"}")):
            return InvalidMessageError(
                "arrays and objects are nested more than 1024 deep: send them as a string"
            )
    return None


def _mistake(text: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    """Return what is wrong, and what to do."""
    if not text.strip():
        return "it is empty", "send one JSON value"
    if (foreign := _foreign_encoding(text)) is not None:
        return foreign
    for start in (max(error.pos - 1, 0), error.pos):
        if number := _NO_NUMBER.match(error.doc, start):
            return f"there is no number {number[0]}", "send null or a string instead"
    if error.msg == "unexpected content after document":
        return (
            f"more follows the value: line {error.lineno} column {error.colno}",
            "send one JSON value, or several as application/x-ndjson, one a line",
        )
    return str(error), "send one JSON value, encoded as UTF-8"


def _foreign_encoding(text: bytes) -> tuple[str, str] | None:
    """Return what is not UTF-8, and what to do; None if the text is UTF-8."""
    encoding = json.detect_encoding(text)
    if not encoding.startswith("utf-8"):
        return f"it is in {encoding[:6].upper()}", "encode it as UTF-8"
    if text.startswith(codecs.BOM_UTF8):
        return "a byte order mark stands before it", "leave the mark out"
    try:
        text.decode()
    except UnicodeDecodeError as fault:
        where = f"byte 0x{text[fault.start]:02x} at position {fault.start + 1}"
        return f"{where} is not UTF-8", "encode it as UTF-8"
    return None


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"
