"""Media types in Content-Type and Accept (RFC 9110, sections 8.3 and 12.5.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mimeparse

if TYPE_CHECKING:
    from collections.abc import Iterable

# Browsers send about 150 characters. The parser's time grows with the square of the number of
# quoted ones: 3 s for as many as a request's head may have, 1 ms for this many.
MAX_CHARACTERS = 1000


def essence(content_type: str) -> str:
    """Return the type and subtype in lower case, empty if they cannot be parsed."""
    if len(content_type) > MAX_CHARACTERS:
        return ""
    try:
        return "/".join(mimeparse.parse_mime_type(content_type.lower())[:2])
    except mimeparse.MimeTypeParseException:
        return ""


def best_match(supported: Iterable[str], accept: str) -> str:
    """Return the type that the client prefers, empty if it accepts none or cannot be parsed.

    Of several that fit equally well, the last one wins.
    """
    if len(accept) > MAX_CHARACTERS:
        return ""
    try:
        best: str = mimeparse.best_match(supported, accept.lower())
    except mimeparse.MimeTypeParseException:
        return ""
    return best
