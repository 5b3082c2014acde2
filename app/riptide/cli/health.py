"""``riptide health``: asks the service of this machine how it is, as a health check does."""

from __future__ import annotations

import json
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

import click

from riptide.cli.errors import CommandError
from riptide.cli.parameters import Seconds
from riptide.cli.terminal import interruptible, write_stdout

if TYPE_CHECKING:
    from riptide.settings.settings import Settings

# An answer of the service is shorter by far. Another program may send more.
MAX_ANSWER = 64 * 1024
UNAUTHORIZED = 401

EXAMPLES = """\b
Examples:
  riptide health
  riptide health --ready --timeout 1
  RIPTIDE_PORT=9000 RIPTIDE_METRICS_TOKEN_FILE=/token riptide health
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--live/--ready",
    default=True,
    show_default=True,
    help="live: the process answers; if not, restart it. ready: it also takes new streams and "
    "messages; if not, send it no clients.",
)
@click.option(
    "--timeout",
    "limit_s",
    type=Seconds(min=0, min_open=True, max=threading.TIMEOUT_MAX),
    default=3,
    show_default=True,
    metavar="SECONDS",
    help="How long the answer may take.",
)
def health(*, live: bool, limit_s: float) -> None:
    """Ask the service of this machine how it is: exit code 0 if it is well, 1 if not.

    Where the service listens, whether it speaks TLS and which token it requires is read from the
    same RIPTIDE_* variables that the service has. The certificate is not verified, and proxies
    are not used, because the service is on this machine.
    """
    from riptide.settings.settings import load_settings  # noqa: PLC0415  # loads pydantic

    settings = load_settings()
    answer: Future[str] = Future()

    def ask() -> None:
        try:
            answer.set_result(_ask(settings, "live" if live else "ready"))
        except BaseException as error:  # noqa: BLE001  # the waiting thread gets it
            answer.set_exception(error)

    # A daemon, because nothing but this bounds the whole time of a request, its resolver included.
    threading.Thread(target=ask, name="riptide-health", daemon=True).start()
    with interruptible():
        try:
            line = answer.result(limit_s)
        except TimeoutError:
            raise CommandError(f"no answer from the service within {limit_s:g} seconds") from None
    write_stdout(f"{line}\n".encode())


def _ask(settings: Settings, wanted: str) -> str:
    """Return a line that says that the service is as wanted.

    Raises:
        CommandError: it is not, or there is no service.
        StartError: the settings are not such that a service could start with them.

    """
    import http.client  # noqa: PLC0415  # --help asks nobody
    import ssl  # noqa: PLC0415  # as above

    from riptide.access.operators import read_token  # noqa: PLC0415  # loads Starlette
    from riptide.server.listener import address_to_reach, url_of  # noqa: PLC0415  # as http.client

    port = settings.port if settings.metrics_port is None else settings.metrics_port
    if port == 0:
        raise CommandError(
            "the settings let the service take any free port, which only the service knows: set "
            "RIPTIDE_PORT, or RIPTIDE_METRICS_PORT, to a number"
        )
    # Any name of loopback, because a service may refuse to be called by other names.
    headers: dict[str, str | bytes] = {"Host": "localhost", "Accept-Encoding": "identity"}
    if settings.metrics_token_file is not None:
        token = read_token(settings.metrics_token_file)
        if len(token.splitlines()) > 1:
            raise CommandError(f"{settings.metrics_token_file} has more than one line")
        headers["Authorization"] = b"Bearer " + token
    tls = settings.tls_certificate is not None
    try:
        address = address_to_reach(settings.host, port)
    except (OSError, UnicodeError):
        raise CommandError(f"RIPTIDE_HOST is {settings.host}, which has no address") from None
    url = f"{url_of(address, tls=tls)}/healthz/{wanted}"
    connection = http.client.HTTPConnection(*address)
    if tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        connection = http.client.HTTPSConnection(*address, context=context)
    try:
        connection.request("GET", f"/healthz/{wanted}", headers=headers)
        response = connection.getresponse()
        return _judge(url, wanted, response.status, response.read(MAX_ANSWER))
    except (OSError, http.client.HTTPException) as error:
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise CommandError(
            f"no answer from {url} ({why}): is the service running, with the same RIPTIDE_* "
            "variables?"
        ) from None
    finally:
        connection.close()


def _judge(url: str, wanted: str, status: int, body: bytes) -> str:
    if status == UNAUTHORIZED:
        raise CommandError(
            f"{url} wants another token: set RIPTIDE_METRICS_TOKEN_FILE as for the service"
        )
    try:
        answer: Any = json.loads(body)
    except ValueError:
        answer = None
    found = answer.pop("status", None) if isinstance(answer, dict) else None
    if found == wanted:
        return f"{wanted}: {url}"
    if found != f"not {wanted}":
        raise CommandError(f"{url} answered {status}, not as a Riptide service does")
    checks = ", ".join(f"{name}: {state}" for name, state in answer.items())
    raise CommandError(f"{found}: {url} ({checks})")
