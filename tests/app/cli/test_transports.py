from __future__ import annotations

from typing import TYPE_CHECKING

import httpx2
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import WebSocketRoute

from riptide.cli.errors import BrokenStreamError, CommandError, TemporaryError
from riptide.cli.service import open_client
from riptide.cli.transports import ndjson_records, open_stream, sse_records
from tests.app.cli.scripted_service import (
    ScriptedService,
    control,
    message,
    message_id,
    problem,
    running,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.websockets import WebSocket

    from riptide.cli.transports import Records
    from tests.app.cli.conftest import Cutting

OPENED = control("opened", id=message_id(0))
COMPLETED = control("end", id=message_id(9), reason="completed", reconnect=False)

protocols = pytest.mark.parametrize("protocol", ["sse", "ndjson", "websocket"])


def _read(url: str, protocol: str) -> list[bytes]:
    query = {"after": "earliest", "until": "latest"}
    with open_client(10) as client, open_stream(client, url, "logs", protocol, query) as stream:
        return _all(stream)


def _all(records: Records) -> list[bytes]:
    return [record for arrived in records for record in arrived]


class _Pieces(httpx2.SyncByteStream):
    """A body that arrives in pieces of one size."""

    def __init__(self, body: bytes, size: int) -> None:
        self._pieces = [body[at : at + size] for at in range(0, len(body), size)]

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)


@protocols
def test_records_are_the_same_on_every_transport_byte_for_byte(
    service: ScriptedService, protocol: str
) -> None:
    records = [OPENED, message(1, '"a\u2028b\x85c"'.encode()), message(2, b'{"b": 1.0}'), COMPLETED]
    service.scripts.append(list(records))
    assert _read(service.url, protocol) == records
    assert service.queries == [{"after": "earliest", "until": "latest"}]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_records_do_not_depend_on_how_they_arrive_and_one_cut_short_is_none(size: int) -> None:
    lines = b'{"data":1}\n\n{"data":2}\n{"da'
    events = b': hello\n\nid: x\ndata: {"data":1}\n\nevent: e\ndata:{"data":\ndata:2}\n\ndata: {"da'
    of_lines = ndjson_records(httpx2.Response(200, stream=_Pieces(lines, size)))
    of_events = sse_records(httpx2.Response(200, stream=_Pieces(events, size)))
    assert _all(of_lines) == [b'{"data":1}', b'{"data":2}']
    assert _all(of_events) == [b'{"data":1}', b'{"data":\n2}']


@protocols
def test_a_connection_cut_within_a_stream_is_told_as_such(
    service: ScriptedService, cutting: Cutting, protocol: str
) -> None:
    service.payloads += [b'"%d"' % n for n in range(2000)]
    with pytest.raises(BrokenStreamError):
        _read(cutting(5000).url, protocol)


@protocols
@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_service_without_room_is_a_temporary_error_with_the_wait_it_asks_for(
    service: ScriptedService, protocol: str, status: int
) -> None:
    service.answers.append(problem(status, "full: come back", retry_after=3))
    with pytest.raises(TemporaryError, match=r"^full: come back$") as raised:
        _read(service.url, protocol)
    assert raised.value.retry_after == 3


@protocols
def test_a_refusal_is_not_worth_another_try(service: ScriptedService, protocol: str) -> None:
    service.answers += [problem(400, "'x' is not an id"), Response("hello", media_type="text/html")]
    with pytest.raises(CommandError, match=r"^'x' is not an id$") as refused:
        _read(service.url, protocol)
    with pytest.raises(CommandError, match=r"check --url$") as strange:
        _read(service.url, protocol)
    assert {type(refused.value), type(strange.value)} == {CommandError}


@protocols
def test_a_service_that_is_not_there_is_a_temporary_error(protocol: str) -> None:
    with pytest.raises(TemporaryError, match=r"cannot connect to http://127\.0\.0\.1:1 "):
        _read("http://127.0.0.1:1", protocol)


@pytest.mark.parametrize(("code", "fatal"), [(1008, True), (1009, True), (1001, False)])
def test_a_websocket_closed_for_what_the_client_did_is_not_worth_another_try(
    code: int, *, fatal: bool
) -> None:
    async def close(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text("1")
        await websocket.close(code, "because")

    service = ScriptedService()
    service.app = Starlette(routes=[WebSocketRoute("/topics/logs", close)])
    with running(service):
        if fatal:
            with pytest.raises(CommandError, match="closed the WebSocket: because"):
                _read(service.url, "websocket")
        else:
            assert _read(service.url, "websocket") == [b"1"]
