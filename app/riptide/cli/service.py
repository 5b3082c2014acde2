"""What commands need to talk to the service: its address, a client, what its answers mean."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote, urlsplit

import click

from riptide.cli.errors import CommandError
from riptide.cli.parameters import TEXT
from riptide.process.http_environment import (
    UnusableEnvironmentError,
    client_options,
    without_credentials,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

DEFAULT_URL = "http://localhost:8080"
CONNECT_TIMEOUT_S = 10.0
# Less than the 5 seconds after which uvicorn closes an idle connection: a request that is sent
# while the service closes its connection has an unknown outcome.
KEEP_ALIVE_S = 2.0

Command = TypeVar("Command", bound="Callable[..., Any]")


def _check_url(_ctx: click.Context, _param: click.Parameter, url: str) -> str:
    with contextlib.suppress(ValueError):  # such as a port that is no number
        parts = urlsplit(url)
        known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        if known and _is_understood(url):
            return url.rstrip("/")
    shown = "it" if "@" in url else repr(url)  # may have a password
    message = f"{shown} is not the address of a service, give one like {DEFAULT_URL}"
    raise click.BadParameter(message)


def _is_understood(url: str) -> bool:
    """Return whether a URL is one to the client and to the resolver of host names as well."""
    import httpx2  # noqa: PLC0415  # as in open_client

    try:
        # What getaddrinfo does, which refuses names with an empty or a long label.
        httpx2.URL(url).raw_host.decode().encode("idna")
    except (httpx2.InvalidURL, UnicodeError):
        return False
    return True


def url_option(command: Command) -> Command:
    """Add ``--url``."""
    return click.option(
        "--url",
        type=TEXT,
        envvar="RIPTIDE_URL",
        default=DEFAULT_URL,
        show_default=True,
        show_envvar=True,
        callback=_check_url,
        help="Where the service is.",
    )(command)


def token_option(command: Command) -> Command:
    """Add ``--token``."""
    return click.option(
        "--token",
        envvar="RIPTIDE_TOKEN",
        show_envvar=True,
        metavar="JWT",
        callback=_check_token,
        help="Your token, if the service asks for one. Other users of this machine can see the "
        "option, but not the environment variable.",
    )(command)


def _check_token(_ctx: click.Context, _param: click.Parameter, token: str | None) -> str | None:
    token = token and token.strip()
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        raise click.BadParameter("a token has no white space and no characters beyond ASCII")
    return token


def topic_url(url: str, topic: str) -> str:
    """Return the address of a topic."""
    return f"{url}/topics/{quote(topic, safe='')}"


def open_client(
    read_timeout: float, token: str | None = None, url: str = DEFAULT_URL
) -> httpx2.Client:
    """Return a client of one service that asks for no compression, which would hold messages back.

    The client follows no redirection, so that a token is sent to no other service.

    Raises:
        CommandError: the environment names a proxy or certificates that cannot be used.

    """
    import httpx2  # noqa: PLC0415  # slow to import, and --help does not need it

    try:
        options = client_options(url)
    except UnusableEnvironmentError as error:
        raise CommandError(f"cannot connect to {without_credentials(url)}: {error}") from None
    bearer = {"Authorization": f"Bearer {token}"} if token else {}
    return httpx2.Client(
        headers={"Accept-Encoding": "identity", "User-Agent": "riptide", **bearer},
        timeout=httpx2.Timeout(read_timeout, connect=CONNECT_TIMEOUT_S),
        limits=httpx2.Limits(keepalive_expiry=KEEP_ALIVE_S),
        **options,
    )


def problem_of(response: httpx2.Response) -> dict[str, Any]:
    """Return the problem details (RFC 9457) of an answer that has been read; empty if none."""
    try:
        problem = response.json()
    except ValueError:
        return {}
    return problem if isinstance(problem, dict) else {}


def explain(response: httpx2.Response) -> str:
    """Say in one line what an answer other than the expected one means."""
    problem = problem_of(response)
    text = problem.get("detail") or problem.get("title")
    if text:
        return str(text)
    url = without_credentials(str(response.request.url))
    status = f"{response.status_code} {response.reason_phrase}".strip()
    if response.is_redirect:
        return f"{url} has moved to {response.headers.get('location')}: give its new --url"
    return f"{url} answered {status}, not as a Riptide service does: check --url"


def unreachable(url: str, error: Exception) -> str:
    """Say in one line that the service cannot be reached, and why."""
    reason = re.sub(r"^\[.*?\] ", "", str(error)) or "no answer in time"
    shown = without_credentials(url)
    return f"cannot connect to {shown} ({reason}): start it with riptide serve, or check --url"


def retry_after(response: httpx2.Response) -> float | None:
    """Return the seconds of the answer's Retry-After, if it has one."""
    with contextlib.suppress(ValueError):
        return max(0.0, float(response.headers.get("retry-after", "")))
    return None
