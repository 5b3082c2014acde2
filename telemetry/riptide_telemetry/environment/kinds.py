"""The kinds of values that ``OTEL_*`` variables have: what a value must be, and how it is read."""

from __future__ import annotations

import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

# A longer value is shown only in part: an error is one line that can be read.
SHOWN_CHARACTERS = 100

# DNS has no longer names. Another script than ASCII is written in punycode.
_HOST = re.compile(r"(?!-)[A-Za-z0-9._-]{1,253}|[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]+)?")
_WHOLE_NUMBER = re.compile(r"[0-9]+")
# What HTTP and gRPC accept as a name, and what the SDK accepts as a value. It logs any other
# header, with its secret, and sends none. A value may be percent-encoded.
_HEADER_NAME = re.compile(r"[a-z0-9_.-]+")
_HEADER_VALUE = re.compile(r"[\x20\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_SENT_VALUE = re.compile(r"[\x20-\x7e]*")

_STATUS_CODES = frozenset(
    {
        *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND"),
        *("ALREADY_EXISTS", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION"),
        *("ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"),
        "UNAUTHENTICATED",
    }
)


class InvalidTelemetryError(ValueError):
    """An ``OTEL_*`` variable has a value that is not allowed, or an exporter is not installed.

    The text is one line.
    """


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of values. ``parse`` raises ``ValueError`` or ``OSError`` if one is not allowed.

    A value that ``is_secret`` is not repeated in the error.
    """

    must: str
    parse: Callable[[str], T]
    is_secret: Callable[[str], bool] = lambda _: False

    def read(self, variable: str, value: str) -> T:
        """Return the value of a variable.

        Raises:
            InvalidTelemetryError: the value is not allowed; the text says what is.

        """
        must = self.must
        try:
            value.encode()
            return self.parse(value)
        except UnicodeEncodeError:
            # Bytes that are no UTF-8 can neither be exported nor shown in metrics.
            must = "text in UTF-8"
        except ValueError:
            pass
        except OSError as error:
            must = f"{must} ({error.strerror})"
        raise invalid(variable, must, None if self.is_secret(value) else value)


def invalid(variable: str, must: str, value: str | None) -> InvalidTelemetryError:
    """Return the error of a variable; None for a value that must not be repeated."""
    if value is None:
        return InvalidTelemetryError(f"{variable} must be {must}")
    shown = repr(value[:SHOWN_CHARACTERS]) + ("…" if len(value) > SHOWN_CHARACTERS else "")
    return InvalidTelemetryError(f"{variable} is {shown}, but must be {must}")


def whole_number(least: int, most: int) -> Kind[int]:
    """Return the kind of whole numbers within bounds."""

    def parse(value: str) -> int:
        if _WHOLE_NUMBER.fullmatch(value) is None:
            raise ValueError
        return int(_within(float(value), least, most))

    return Kind(f"a whole number from {least} to {most}", parse)


def number(least: float, most: float, unit: str = "") -> Kind[float]:
    """Return the kind of numbers within bounds."""

    def parse(value: str) -> float:
        # float() takes digits of all scripts, and underscores between them.
        if not value.isascii() or "_" in value:
            raise ValueError
        return _within(float(value), least, most)

    return Kind(f"a number{unit and f' of {unit}'} from {least:.16g} to {most:.16g}", parse)


def one_of(*allowed: str) -> Kind[str]:
    """Return the kind of a few words, in upper or lower case."""
    return Kind(" or ".join(allowed), lambda value: allowed[allowed.index(value.lower())])


def exporters(*names: str) -> Kind[frozenset[str]]:
    """Return the kind of lists of exporters: ``none``, or some of the names."""

    def parse(value: str) -> frozenset[str]:
        chosen = frozenset(_parts(value.lower()))
        if chosen == {"none"}:
            return frozenset()
        if not chosen or not chosen <= {*names}:
            raise ValueError
        return chosen

    several = " or both with a comma, or" if len(names) > 1 else " or"
    return Kind(f"{', '.join(names)}{several} none", parse)


def installed(group: str, *others: str) -> Kind[list[str]]:
    """Return the kind of lists of plug-ins, which packages offer as entry points of a group."""

    def parse(value: str) -> list[str]:
        # The names are looked up only where the variable is given: this reads many files.
        known = importlib.metadata.entry_points(group=group).names
        chosen = _parts(value)
        if not set(chosen) <= {*known, *others}:
            raise ValueError
        return chosen

    return Kind(f"what an installed package offers as {group}", parse)


def endpoint() -> Kind[str]:
    """Return the kind of URLs of a collector over HTTP."""
    return Kind("a URL, like http://localhost:4318", _read_url, _may_have_secret)


def grpc_endpoint(scheme: str) -> Kind[str]:
    """Return the kind of URLs of a collector over gRPC; ``scheme`` is for those that have none."""

    def parse(value: str) -> str:
        url = _read_url(value if "://" in value else f"{scheme}://{value}")
        if "@" in url:  # gRPC would look for a host of this name
            raise ValueError
        return url

    return Kind("a URL without a user, like http://localhost:4317", parse, _may_have_secret)


def _may_have_secret(url: str) -> bool:
    return "@" in url or "?" in url


def _read_url(url: str) -> str:
    parts = urlsplit(url)
    if not (
        url.isprintable()
        and " " not in url
        and parts.scheme in {"http", "https"}
        and _HOST.fullmatch(parts.hostname or "")
        and parts.port != 0
    ):
        raise ValueError
    return url


def _read_file(value: str) -> str:
    path = Path(value)
    if path.exists() and not path.is_file():
        raise ValueError
    with path.open("rb"):
        return value


def _read_headers(value: str) -> dict[str, str]:
    headers = {}
    for part in _parts(value):
        name, equals, text = (piece.strip() for piece in part.partition("="))
        name, sent = unquote(name).lower(), unquote(text, errors="strict")
        if not (
            equals
            and _HEADER_NAME.fullmatch(name)
            and not name.endswith("-bin")  # gRPC's name for bytes
            and _HEADER_VALUE.fullmatch(text)
            and _SENT_VALUE.fullmatch(sent)
        ):
            raise ValueError
        headers[name] = sent
    return headers


def _read_attributes(value: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in _parts(value)]
    if not all(name.strip() and equals for name, equals, _ in pairs):
        raise ValueError
    return {name.strip(): unquote(text.strip()) for name, _, text in pairs}


def _read_patterns(value: str) -> list[str]:
    patterns = [part.strip() for part in value.split(",")]
    try:
        # As the instrumentation does.
        re.compile("|".join(patterns), re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError from error
    return patterns


def _read_status_codes(value: str) -> list[str]:
    codes = [part.upper() for part in _parts(value)]
    if not {*codes} <= _STATUS_CODES:
        raise ValueError
    return codes


def _within(value: float, least: float, most: float) -> float:
    if not least <= value <= most:
        raise ValueError
    return value


def _parts(value: str) -> list[str]:
    return [part.strip() for part in value.split(",") if part.strip()]


TEXT: Kind[str] = Kind("a text", str)
BOOLEAN: Kind[bool] = Kind(
    "true or false", lambda value: bool(["false", "true"].index(value.lower()))
)
FILE: Kind[str] = Kind("a file that can be read", _read_file)
HEADERS: Kind[dict[str, str]] = Kind(
    'name=value, several with commas; a value is printable ASCII, in which , ; " and \\ are '
    "percent-encoded",
    _read_headers,
    lambda _: True,
)
ATTRIBUTES: Kind[dict[str, str]] = Kind(
    "name=value, several with commas", _read_attributes, lambda _: True
)
PATTERNS: Kind[list[str]] = Kind("regular expressions, several with commas", _read_patterns)
GRPC_STATUS_CODES: Kind[list[str]] = Kind(
    "names of gRPC's status codes, like UNAVAILABLE, several with commas", _read_status_codes
)
