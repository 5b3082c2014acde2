"""``riptide token``: signs a token with the service's own secret."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from riptide.cli.errors import CommandError
from riptide.cli.parameters import TEXT
from riptide.cli.terminal import write_stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

SECONDS = {"s": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}

EXAMPLES = """\b
Examples:
  export RIPTIDE_TOKEN_SECRET_FILE=secret           the same file that the service has
  riptide token --publish 'orders.*' --subscribe '*'
  export RIPTIDE_TOKEN=$(riptide token --subscribe news --for 7d)
"""


def _check_duration(_ctx: click.Context, _param: click.Parameter, value: str) -> int:
    """Return the seconds of a time like 90s, 15m, 1h or 7d."""
    match = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", value)
    if match is None:
        message = f"{value!r} is not a duration, give one like 90s, 15m, 1h or 7d"
        raise click.BadParameter(message)
    return int(match[1]) * SECONDS[match[2]]


def _check_patterns(
    _ctx: click.Context, _param: click.Parameter, patterns: tuple[str, ...]
) -> tuple[str, ...]:
    from riptide.access.grants import check_pattern  # noqa: PLC0415  # --help does not need it

    try:
        return tuple(map(check_pattern, patterns))
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


@click.command(epilog=EXAMPLES)
@click.option(
    "--publish",
    multiple=True,
    callback=_check_patterns,
    metavar="PATTERN",
    help="Topics that the token's bearer may publish to; may be given several times.",
)
@click.option(
    "--subscribe",
    multiple=True,
    callback=_check_patterns,
    metavar="PATTERN",
    help="Topics that the token's bearer may read; may be given several times.",
)
@click.option("--subject", type=TEXT, metavar="NAME", help="Whose token it is (sub).")
@click.option(
    "--for",
    "lasts_s",
    callback=_check_duration,
    default="1h",
    show_default=True,
    metavar="DURATION",
    help="How long the token is valid: a number of s, m, h or d, as in 90s or 7d.",
)
@click.option(
    "--audience",
    type=TEXT,
    envvar="RIPTIDE_TOKEN_AUDIENCE",
    show_envvar=True,
    metavar="NAME",
    help="Audience of the token (aud), if the service requires one.",
)
@click.option(
    "--issuer",
    type=TEXT,
    envvar="RIPTIDE_TOKEN_ISSUER",
    show_envvar=True,
    metavar="NAME",
    help="Issuer of the token (iss), if the service requires one.",
)
@click.option(
    "--secret-file",
    type=click.Path(dir_okay=False, path_type=Path),
    envvar="RIPTIDE_TOKEN_SECRET_FILE",
    show_envvar=True,
    metavar="FILE",
    help="The file with the secret that the service verifies tokens with.",
)
def token(  # noqa: PLR0913  # one parameter an option
    *,
    publish: Sequence[str],
    subscribe: Sequence[str],
    subject: str | None,
    lasts_s: int,
    audience: str | None,
    issuer: str | None,
    secret_file: Path | None,
) -> None:
    """Print a token (JWT, signed by HS256) for a service that has the same secret.

    In a PATTERN, * stands for any characters, dots included, and ? for any one. Quote patterns,
    or the shell replaces them by the names of files that match.
    """
    if not publish and not subscribe:
        raise click.UsageError(
            "a token without grants opens nothing: give --publish or --subscribe, or both"
        )
    if not secret_file:
        raise click.UsageError(
            "there is no secret to sign with: give --secret-file, or set "
            "RIPTIDE_TOKEN_SECRET_FILE as for the service"
        )
    claims = {
        "sub": subject,
        "aud": audience,
        "iss": issuer,
        "exp": int(time.time()) + lasts_s,
        "riptide": {"publish": list(publish), "subscribe": list(subscribe)},
    }
    given = {name: claim for name, claim in claims.items() if claim}
    write_stdout(f"{_sign(given, secret_file)}\n".encode())


def _sign(claims: dict[str, Any], file: Path) -> str:
    import jwt  # noqa: PLC0415  # slow to import, and --help does not need it

    from riptide.access.keys import secret_key  # noqa: PLC0415  # as jwt
    from riptide.access.tokens import MAX_LENGTH  # noqa: PLC0415  # as jwt

    try:
        key = secret_key(file.read_bytes())
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise CommandError(f"{file} has no secret to sign with ({why})") from None
    signed = jwt.encode(claims, key.material, key.algorithm)
    if len(signed) > MAX_LENGTH:
        raise CommandError(
            f"the token would have {len(signed)} characters, and the service takes {MAX_LENGTH}: "
            "give fewer or wider patterns"
        )
    return signed
