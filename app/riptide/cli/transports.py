"""The three ways to read a stream: each yields the records that arrived together."""

from __future__ import annotations

import base64
import contextlib
import secrets
from typing import TYPE_CHECKING, Any

from riptide.cli.errors import BrokenStreamError, CommandError, TemporaryError
from riptide.cli.service import explain, retry_after, topic_url, unreachable
from riptide.process.http_environment import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    import httpx2

    Records = Generator[list[bytes]]

# Seconds without a byte after which a stream counts as lost: four heartbeats by default.
SILENCE_S = 60.0
OK, SWITCHING_PROTOCOLS, SERVER_FAULT = 200, 101, 500
TOO_MANY_REQUESTS = 429
NORMAL_CLOSURE = 1000
# The close codes that blame the client (RFC 6455, section 7.4): reconnecting would not help.
FATAL_CLOSURES = frozenset({1002, 1003, 1007, 1008, 1009, 1010})


def ndjson_records(response: httpx2.Response) -> Records:
    """Yield the lines of an NDJSON stream; a line that was cut short is left out."""
    rest = b""
    for chunk in response.iter_bytes():
        *lines, rest = (rest + chunk).split(b"\n")
        yield [line for line in lines if line]


def sse_records(response: httpx2.Response) -> Records:
    """Yield the data of the events of an SSE stream; an event that was cut short is left out.

    The service ends its lines with line feeds. The records in the data repeat the type, id and
    retry of their events, so the other fields are ignored.
    """
    rest = b""
    for chunk in response.iter_bytes():
        *events, rest = (rest + chunk).split(b"\n\n")
        yield [data for event in events if (data := _event_data(event))]


def _event_data(event: bytes) -> bytes:
    lines = [line[5:].removeprefix(b" ") for line in event.split(b"\n") if line[:5] == b"data:"]
    return b"\n".join(lines)


def websocket_records(response: httpx2.Response) -> Records:
    """Yield the text frames of a WebSocket."""
    import httpcore2  # noqa: PLC0415  # as in open_client; the raw connection raises its errors
    from websockets.frames import DATA_OPCODES, Frame  # noqa: PLC0415  # SSE and NDJSON do without it
    from websockets.protocol import Protocol, Side, State  # noqa: PLC0415  # SSE and NDJSON do without it

    connection = response.extensions["network_stream"]
    protocol = Protocol(Side.CLIENT, state=State.OPEN, max_size=None)
    partial: list[bytes] = []
    try:
        while protocol.close_rcvd is None and protocol.parser_exc is None:
            received = connection.read(64 * 1024, timeout=SILENCE_S)
            if not received:
                raise BrokenStreamError("the service closed the connection without a word")
            protocol.receive_data(received)
            records = []
            for frame in protocol.events_received():
                if isinstance(frame, Frame) and frame.opcode in DATA_OPCODES:
                    partial.append(bytes(frame.data))
                    if frame.fin:
                        records.append(b"".join(partial))
                        partial.clear()
            yield records
            for answer in protocol.data_to_send():  # pongs, and the answer to a close
                connection.write(answer, timeout=SILENCE_S)
    except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
        raise BrokenStreamError(str(error) or "the service fell silent") from None
    finally:
        with contextlib.suppress(httpcore2.NetworkError, httpcore2.TimeoutException):
            if protocol.state is State.OPEN:
                protocol.send_close(NORMAL_CLOSURE)
                connection.write(b"".join(protocol.data_to_send()), timeout=1)
            connection.close()
    close = protocol.close_rcvd
    if close is not None and close.code in FATAL_CLOSURES:
        raise CommandError(f"the service closed the WebSocket: {close.reason or close}")


def _websocket_handshake() -> dict[str, str]:
    return {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(secrets.token_bytes(16)).decode(),
    }


TRANSPORTS: dict[str, Callable[[httpx2.Response], Records]] = {
    "sse": sse_records,
    "ndjson": ndjson_records,
    "websocket": websocket_records,
}
MEDIA_TYPES = {"sse": "text/event-stream", "ndjson": "application/x-ndjson"}


@contextlib.contextmanager
def open_stream(
    client: httpx2.Client, url: str, topic: str, protocol: str, query: dict[str, str]
) -> Generator[Records]:
    """Open a stream of a topic.

    Raises:
        TemporaryError: the service cannot be reached or has no room for now.
        BrokenStreamError: the connection was lost, also while the stream is read.
        CommandError: the service refuses.

    """
    import httpx2  # noqa: PLC0415  # as in open_client

    websocket = protocol == "websocket"
    headers = _websocket_handshake() if websocket else {"Accept": MEDIA_TYPES[protocol]}
    try:
        with client.stream("GET", topic_url(url, topic), params=query, headers=headers) as response:
            _check(response, protocol)
            with contextlib.closing(TRANSPORTS[protocol](response)) as records:
                yield records
    except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
        raise TemporaryError(unreachable(url, error)) from None
    except httpx2.TransportError as error:
        raise BrokenStreamError(str(error) or "the service fell silent") from None


def _check(response: httpx2.Response, protocol: str) -> None:
    """Raise the error that an answer stands for, unless it is the stream asked for."""
    expected = MEDIA_TYPES.get(protocol)
    if response.status_code == (OK if expected else SWITCHING_PROTOCOLS):
        media_type: Any = response.headers.get("content-type", "").partition(";")[0].strip()
        if expected in {None, media_type}:
            return
        url = without_credentials(str(response.request.url))
        raise CommandError(
            f"{url} sent {media_type or 'nothing'}, not {expected}, as a Riptide service does: "
            "check --url"
        )
    response.read()
    status = response.status_code
    if status >= SERVER_FAULT or status == TOO_MANY_REQUESTS:
        raise TemporaryError(explain(response), retry_after=retry_after(response))
    raise CommandError(explain(response))
