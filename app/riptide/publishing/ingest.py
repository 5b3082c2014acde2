"""Ingest: reads publish requests within limits, checks them, and hands them to the hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from riptide.admission.admission import Admission, Limits
from riptide.encoding import ndjson
from riptide.errors import (
    InvalidMessageError,
    ProblemError,
    TooLargeError,
    UnsupportedMediaTypeError,
)
from riptide.media_types import essence
from riptide.message import check_topic, parse_payload
from riptide.publication import Publication
from riptide.publishing.bodies import Bodies
from riptide_telemetry import PublishOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.hub.hub import Hub
    from riptide.message import Receipt
    from riptide.publishing.publish_request import PublishRequest
    from riptide_telemetry import Lifecycle

JSON = "application/json"
# Bodies of the largest size that may be read at the same time.
LARGEST_BODIES = 16
# Bytes of messages that are checked before other tasks get a turn of the event loop. Each message
# counts with its own bytes and with MESSAGE_BYTES for the fixed cost of its check.
SLICE_BYTES = 128 * 1024
MESSAGE_BYTES = 128


class PublishLimits(NamedTuple):
    """The largest body and message, in bytes, and the most lines of a batch."""

    body_bytes: int
    message_bytes: int
    batch_messages: int = 10_000


class _Offer:
    """How many messages a publisher offers, as far as that is known.

    A body that is refused unread counts as one message.
    """

    __slots__ = ("message_count",)

    def __init__(self) -> None:
        self.message_count = 1


class Ingest:
    """Publishes bodies: one JSON message, or an NDJSON batch as a whole or not at all."""

    def __init__(
        self,
        hub: Hub,
        lifecycle: Lifecycle,
        limits: PublishLimits,
        admission: Admission | None = None,
    ) -> None:
        self.bodies = Bodies(LARGEST_BODIES * limits.body_bytes)
        self._hub = hub
        self._lifecycle = lifecycle
        self._limits = limits
        self._admission = admission or Admission(Limits())

    async def publish(self, request: PublishRequest) -> Receipt:
        """Publish a request's body. Every refusal is counted by the outcome that its error names.

        The publish has a span, a child of the publisher's own, if traces are exported.

        Raises:
            InvalidTopicError: the topic's name is not valid; the body is not read.
            UnsupportedMediaTypeError: the body is compressed, or neither JSON nor NDJSON; it is not
                read.
            PublishRateError: the client has published too much lately; the body is not read.
            BodyLimitError: other bodies hold too many bytes; this one is not read to its end.
            TooLargeError: the body, a message of it or their number is over its limit; a body
                that is too large is not read to its end.
            InvalidMessageError: a message is not JSON, or a batch is empty; the text names the
                line.
            TopicLimitError: the topic would be one too many.
            UncertainAppendError: the log may have kept the messages or not.
            LogUnavailableError: the log did not keep the messages.

        """
        offer = _Offer()
        try:
            return await self._publish(request, offer)
        except ProblemError as problem:
            self._lifecycle.messages_published(problem.publish_outcome, offer.message_count)
            raise

    async def _publish(self, request: PublishRequest, offer: _Offer) -> Receipt:
        topic = check_topic(request.topic)
        _refuse_coding(request.content_encoding)
        self._admission.begin_publish(request.client)
        with self._lifecycle.publishing(topic, request.traceparent) as publishing:
            is_batch = _is_batch(request.content_type)
            text = await self._read(request)
            try:
                payloads = await self._parse(text, request, offer, is_batch=is_batch)
                publication = Publication.now(topic, payloads, publishing.traceparent)
                receipt = await self._hub.publish(publication)
            except ProblemError:
                raise
            except Exception:
                self._lifecycle.messages_published(
                    PublishOutcome.INTERNAL_ERROR, offer.message_count
                )
                raise
            finally:
                self.bodies.give_back(len(text))
            self._lifecycle.messages_published(PublishOutcome.ACCEPTED, len(payloads), topic)
            publishing.accepted(str(receipt.first), len(payloads), publication.size_bytes())
            return receipt

    async def _read(self, request: PublishRequest) -> bytes:
        if request.content_length is not None and request.content_length > self._limits.body_bytes:
            self._refuse_body()
        chunks = bytearray()
        try:
            async for chunk in request.body:
                size = len(chunks) + len(chunk)
                if size > self._limits.body_bytes:
                    self._refuse_body()
                self.bodies.take(len(chunk), size)
                chunks += chunk
        except BaseException:
            self.bodies.give_back(len(chunks))
            raise
        return bytes(chunks)

    async def _parse(
        self, text: bytes, request: PublishRequest, offer: _Offer, *, is_batch: bool
    ) -> list[bytes]:
        """Return the messages of a body, each on one line, and note their number in ``offer``."""
        lines = self._split(text, offer) if is_batch else [(1, text)]
        self._admission.charge_publish(request.client, len(lines))
        if is_batch:
            lines = [(number, line) for number, line in lines if line.strip()]
        offer.message_count = len(lines)
        if not lines:
            raise InvalidMessageError("the batch is empty: send one JSON value a line")
        return await self._check_all(lines, is_batch=is_batch)

    def _split(self, text: bytes, offer: _Offer) -> list[tuple[int, bytes]]:
        """Return the lines of a batch with their numbers; refuse a batch of too many lines."""
        limit = self._limits.batch_messages
        # The rest beyond the limit, which may be millions of lines, is left in one piece.
        lines = text.split(b"\n", limit)
        if len(lines) > limit and lines.pop():
            offer.message_count = limit
            raise TooLargeError(
                f"the batch is over the limit of {limit} lines; nothing was "
                "published: send it in smaller batches, or raise RIPTIDE_MAX_BATCH_MESSAGES"
            )
        return list(enumerate(lines, 1))

    async def _check_all(
        self, lines: Sequence[tuple[int, bytes]], *, is_batch: bool
    ) -> list[bytes]:
        payloads: list[bytes] = []
        checked = 0
        for number, line in lines:
            payloads.append(self._check(line, number if is_batch else None))
            checked += MESSAGE_BYTES + len(line)
            # A large message counts as several slices, and is followed by as many turns.
            while checked >= SLICE_BYTES:
                checked -= SLICE_BYTES
                await asyncio.sleep(0)
        return payloads

    def _check(self, line: bytes, number: int | None) -> bytes:
        where = "" if number is None else f"line {number}: "
        extensions = {} if number is None else {"line": number}
        if len(line) > self._limits.message_bytes:
            raise TooLargeError(
                f"{where}a message of {len(line)} bytes is over the limit of "
                f"{self._limits.message_bytes}; nothing was published: send smaller messages, "
                "or raise RIPTIDE_MAX_MESSAGE_BYTES",
                **extensions,
            )
        try:
            return parse_payload(line)
        except InvalidMessageError as error:
            raise InvalidMessageError(f"{where}{error.detail}", **extensions) from None

    def _refuse_body(self) -> NoReturn:
        raise TooLargeError(
            f"the body is over the limit of {self._limits.body_bytes} bytes; nothing was "
            "published: send it in smaller batches, or raise RIPTIDE_MAX_BODY_BYTES"
        )


def _is_batch(content_type: str) -> bool:
    kind = essence(content_type)
    if kind not in {JSON, ndjson.MEDIA_TYPE}:
        raise UnsupportedMediaTypeError(
            f"{content_type[:64] or 'no Content-Type'!r} cannot be published: send {JSON} (one "
            f"message) or {ndjson.MEDIA_TYPE} (one message a line)"
        )
    return kind == ndjson.MEDIA_TYPE


def _refuse_coding(coding: str) -> None:
    """Refuse compressed bodies, because a few bytes could expand to any number."""
    if any(each.strip().lower() not in {"", "identity"} for each in coding.split(",")):
        raise UnsupportedMediaTypeError(
            f"bodies are not taken in the coding {coding[:64]!r}: send it without Content-Encoding"
        )
