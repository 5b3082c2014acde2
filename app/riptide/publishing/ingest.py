"""What publishers send: read within limits, checked, and handed to the hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NoReturn

from riptide.admission.admission import Admission, Limits
from riptide.admission.client import UNKNOWN, Client
from riptide.encoding import ndjson
from riptide.errors import (
    BodyLimitError,
    InvalidMessageError,
    LogUnavailableError,
    PublishRateError,
    TooLargeError,
    TopicLimitError,
    UnsupportedMediaTypeError,
)
from riptide.media_types import essence
from riptide.message import parse_payload
from riptide.publication import Publication
from riptide.publishing.bodies import Bodies
from riptide_telemetry import PublishOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from riptide.hub.hub import Hub, Receipt
    from riptide_telemetry import Lifecycle, Publishing

JSON = "application/json"
# Bodies of the largest size that may be on their way at the same time.
LARGEST_BODIES = 16
# Messages are checked by so many bytes at a time, then others get their turn of the event loop;
# what each one costs beside its bytes is put on top of them.
SLICE_BYTES = 128 * 1024
MESSAGE_BYTES = 128


class Ingest:
    """The way into the hub: a body of one JSON message, or an NDJSON batch, all or none of it."""

    def __init__(  # noqa: PLR0913  # what is put together, and the limits to what is sent
        self,
        hub: Hub,
        lifecycle: Lifecycle,
        *,
        max_body_bytes: int,
        max_message_bytes: int,
        max_batch_messages: int = 10_000,
        admission: Admission | None = None,
    ) -> None:
        self.bodies = Bodies(LARGEST_BODIES * max_body_bytes)
        self._hub = hub
        self._lifecycle = lifecycle
        self._max_body_bytes = max_body_bytes
        self._max_message_bytes = max_message_bytes
        self._max_batch_messages = max_batch_messages
        self._admission = admission or Admission(Limits())

    async def publish(  # noqa: PLR0913, PLR0917  # what a request to publish is made of
        self,
        topic: str,
        content_type: str,
        content_length: int | None,
        body: AsyncIterator[bytes],
        traceparent: str = "",
        client: Client = UNKNOWN,
    ) -> Receipt:
        """Publish a request's body; ``content_length`` is what its header promises, in bytes.

        ``traceparent`` is the publisher's own span; a span of ours is its child, if there are any.

        Raises:
            PublishRateError: the client has published too much of late; the body is not read.
            UnsupportedMediaTypeError: the body is neither JSON nor NDJSON.
            BodyLimitError: too much of other bodies is on its way; it is not read to its end.
            TooLargeError: the body, a message of it or their number is over its limit; a body
                that is too large is not read to its end.
            InvalidMessageError: it does not parse; names the line.
            TopicLimitError: it would be one topic too many.
            LogUnavailableError: the log did not take it.

        """
        try:
            self._admission.begin_publish(client)
        except PublishRateError:
            # How many messages it held is not known, for it was not read.
            self._lifecycle.messages_published(PublishOutcome.RATE_LIMITED, 1)
            raise
        with self._lifecycle.publishing(topic, traceparent) as publishing:
            return await self._publish(
                topic, content_type, content_length, body, publishing, client
            )

    async def _publish(  # noqa: PLR0913, PLR0917  # as publish
        self,
        topic: str,
        content_type: str,
        content_length: int | None,
        body: AsyncIterator[bytes],
        publishing: Publishing,
        client: Client,
    ) -> Receipt:
        batch = _is_batch(content_type)
        text = await self._read(content_length, body)
        try:
            return await self._publish_text(topic, text, publishing, client, batch=batch)
        finally:
            self.bodies.give_back(len(text))

    async def _publish_text(
        self, topic: str, text: bytes, publishing: Publishing, client: Client, *, batch: bool
    ) -> Receipt:
        lines = self._split(text) if batch else [(1, text)]
        self._admission.charge_publish(client, len(lines))
        lines = [(number, line) for number, line in lines if line.strip() or not batch]
        try:
            payloads = await self._check_all(lines, batch=batch)
        except InvalidMessageError:
            self._lifecycle.messages_published(PublishOutcome.INVALID, len(lines))
            raise
        except TooLargeError:
            self._lifecycle.messages_published(PublishOutcome.TOO_LARGE, len(lines))
            raise
        if not payloads:
            raise InvalidMessageError("the batch is empty: send one JSON value a line")
        try:
            receipt = await self._hub.publish(
                Publication.now(topic, payloads, publishing.traceparent)
            )
        except TopicLimitError:
            self._lifecycle.messages_published(PublishOutcome.TOPIC_LIMIT, len(payloads))
            raise
        except LogUnavailableError:
            self._lifecycle.messages_published(PublishOutcome.LOG_FAILURE, len(payloads))
            raise
        self._lifecycle.messages_published(PublishOutcome.ACCEPTED, len(payloads), topic)
        publishing.accepted(str(receipt.first), len(payloads), sum(map(len, payloads)))
        return receipt

    async def _read(self, content_length: int | None, body: AsyncIterator[bytes]) -> bytes:
        if content_length is not None and content_length > self._max_body_bytes:
            self._refuse_body()
        chunks = bytearray()
        try:
            async for chunk in body:
                size = len(chunks) + len(chunk)
                if size > self._max_body_bytes:
                    self._refuse_body()
                self.bodies.take(len(chunk), size)
                chunks += chunk
        except BaseException as error:
            self.bodies.give_back(len(chunks))
            if isinstance(error, BodyLimitError):
                # As there.
                self._lifecycle.messages_published(PublishOutcome.BODY_LIMIT, 1)
            raise
        return bytes(chunks)

    def _split(self, text: bytes) -> list[tuple[int, bytes]]:
        """Return the lines of a batch with their numbers, if it may have so many."""
        # What is beyond the limit, which may be millions of them, is left in one piece.
        lines = text.split(b"\n", self._max_batch_messages)
        if len(lines) > self._max_batch_messages and lines.pop():
            self._lifecycle.messages_published(PublishOutcome.TOO_LARGE, len(lines))
            raise TooLargeError(
                f"the batch is over the limit of {self._max_batch_messages} lines; nothing was "
                "published: send it in smaller batches, or raise RIPTIDE_MAX_BATCH_MESSAGES"
            )
        return list(enumerate(lines, 1))

    async def _check_all(self, lines: Sequence[tuple[int, bytes]], *, batch: bool) -> list[bytes]:
        payloads: list[bytes] = []
        checked = 0
        for number, line in lines:
            payloads.append(self._check(line, number if batch else None))
            checked += MESSAGE_BYTES + len(line)
            # After a large one several turns, for what others are at may take them more than one.
            while checked >= SLICE_BYTES:
                checked -= SLICE_BYTES
                await asyncio.sleep(0)
        return payloads

    def _check(self, line: bytes, number: int | None) -> bytes:
        where = "" if number is None else f"line {number}: "
        extensions = {} if number is None else {"line": number}
        if len(line) > self._max_message_bytes:
            raise TooLargeError(
                f"{where}a message of {len(line)} bytes is over the limit of "
                f"{self._max_message_bytes}; nothing was published: send smaller messages, "
                "or raise RIPTIDE_MAX_MESSAGE_BYTES",
                **extensions,
            )
        try:
            return parse_payload(line)
        except InvalidMessageError as error:
            raise InvalidMessageError(f"{where}{error.detail}", **extensions) from None

    def _refuse_body(self) -> NoReturn:
        # How many messages it held is not known, for it was not read.
        self._lifecycle.messages_published(PublishOutcome.TOO_LARGE, 1)
        raise TooLargeError(
            f"the body is over the limit of {self._max_body_bytes} bytes; nothing was published: "
            "send it in smaller batches, or raise RIPTIDE_MAX_BODY_BYTES"
        )


def _is_batch(content_type: str) -> bool:
    kind = essence(content_type)
    if kind not in {JSON, ndjson.MEDIA_TYPE}:
        raise UnsupportedMediaTypeError(
            f"{content_type[:64] or 'no Content-Type'!r} cannot be published: send {JSON} (one "
            f"message) or {ndjson.MEDIA_TYPE} (one message a line)"
        )
    return kind == ndjson.MEDIA_TYPE
