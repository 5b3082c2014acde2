"""Media types in Content-Type and Accept (RFC 9110, sections 8.3 and 12.5.1)."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any

import mimeparse

if TYPE_CHECKING:
    from collections.abc import Iterable

# Browsers send about 150 characters. The parser's time grows with the square of the number of
# quoted ones: 3 s for as many as a request's head may have, 1 ms for this many.
MAX_CHARACTERS = 1000
# An element of a list. A comma within quotes ends none.
_ELEMENT = re.compile(r'(?:"(?:[^"\\]|\\.)*"|[^,])+')


def essence(content_type: str) -> str:
    """Return the type and subtype in lower case, empty if they cannot be parsed."""
    if len(content_type) > MAX_CHARACTERS:
        return ""
    try:
        return "/".join(mimeparse.parse_mime_type(content_type.lower())[:2])
    except mimeparse.MimeTypeParseException:
        return ""


def best_match(supported: Iterable[str], accept: str) -> str:
    """Return the type that the client prefers, empty if it accepts none.

    Of several that fit equally well, the last one wins. Ranges that cannot be parsed are ignored,
    since they fit no type.
    """
    if len(accept) > MAX_CHARACTERS:
        return ""
    ranges = [each for text in _ELEMENT.findall(accept.lower()) for each in _parse_range(text)]
    best, best_fit = "", (0.0, 0.0)
    for media_type in supported:
        fit = mimeparse.quality_and_fitness_parsed(media_type, ranges)
        if fit[0] > 0 and fit >= best_fit:
            best, best_fit = media_type, fit
    return best


def _parse_range(text: str) -> list[Any]:
    with contextlib.suppress(mimeparse.MimeTypeParseException):
        return [mimeparse.parse_media_range(text)]
    return []
