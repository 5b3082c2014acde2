"""Follows a topic across lost connections, without losing or repeating a record."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from riptide.cli import retrying
from riptide.cli.errors import BrokenStreamError, CommandError, TemporaryError
from riptide.cli.records import parse
from riptide.cli.transports import open_stream

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx2

COMPLETED = "completed"


@dataclass(frozen=True)
class FollowOptions:
    """Which topic to follow, and how; ``retry_for`` is in seconds."""

    url: str
    topic: str
    protocol: str
    after: str
    until: str | None
    retry_for: float
    reconnect: bool


class Ended(Exception):  # noqa: N818  # a finite stream ends so too, without an error
    """The service ended the stream; ``record`` says why."""

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__(record.get("detail") or record.get("reason"))
        self.record = record


class Follower:
    """Reads a topic, and reads on after the last record when the connection is lost.

    ``cursor`` is the position after which the next stream starts. ``deliver`` is called with the
    records that arrived together, each as bytes and parsed; ``note`` with lines for the user.
    """

    def __init__(
        self,
        client: httpx2.Client,
        options: FollowOptions,
        deliver: Callable[[list[tuple[bytes, dict[str, Any]]]], None],
        note: Callable[[str], None],
    ) -> None:
        self.cursor = options.after
        self._client = client
        self._options = options
        self._deliver = deliver
        self._note = note
        self._opened = False
        self._idle_losses = 0

    def run(self) -> None:
        """Follow until the service says that the stream is complete, as with ``until``.

        Raises:
            CommandError: the topic cannot be followed any longer; the text says where to continue.

        """
        reconnect = self._options.reconnect
        while True:
            try:
                self._read_once_opened()
            except Ended as end:
                if end.record.get("reason") == COMPLETED:
                    return
                reason = f"the service ended the stream: {end}"
                if not (end.record.get("reconnect") and reconnect):
                    raise CommandError(f"{reason}{self._hint()}") from None
                pause = float(end.record.get("retry", 0)) / 1000
            except BrokenStreamError as error:
                reason = f"the connection was lost: {error}"
                if not reconnect:
                    raise CommandError(f"{reason}{self._hint()}") from None
                pause = 0.0
            self._note(f"{reason}; reconnecting")
            time.sleep(pause + self._backoff())

    def _read_once_opened(self) -> NoReturn:
        """Read one stream to its end; while none can be opened, try again."""
        retry_for = self._options.retry_for if self._options.reconnect else 0
        try:
            for attempt in retrying.attempts(
                retry_for, lambda error: self._note(f"{error}; trying again")
            ):
                with attempt:
                    self._opened = False
                    self._read()
            raise AssertionError  # the last attempt raises its error
        except TemporaryError as error:
            tried = f" (tried for {retry_for:g} seconds)" if retry_for else ""
            raise CommandError(f"{error}{tried}{self._hint()}") from None

    def _read(self) -> NoReturn:
        """Read one stream; a connection lost before its first record is a ``TemporaryError``."""
        options = self._options
        query = {"after": self.cursor}
        if options.until:
            query["until"] = options.until
        try:
            with open_stream(
                self._client, options.url, options.topic, options.protocol, query
            ) as stream:
                for arrived in stream:
                    self._take(arrived)
        except BrokenStreamError as error:
            if self._opened:
                raise
            raise TemporaryError(str(error)) from None
        raise BrokenStreamError("the stream stopped without an end")

    def _take(self, arrived: list[bytes]) -> None:
        records = [(record, parse(record)) for record in arrived]
        if not records:
            return
        self._deliver(records)
        for _, members in reversed(records):
            if "id" in members:
                self.cursor = str(members["id"])
                break
        if self._opened or len(records) > 1:  # more than the opening record has come
            self._idle_losses = 0
        self._opened = True
        _, last = records[-1]
        if last.get("event") == "end":
            raise Ended(last)

    def _backoff(self) -> float:
        """Return a jittered wait in seconds, longer after each loss in a row without a message."""
        self._idle_losses += 1
        return retrying.jitter(min(retrying.WAIT_MAX, retrying.WAIT_JITTER * 2**self._idle_losses))

    def _hint(self) -> str:
        started = self.cursor != self._options.after
        return f"; continue with --after {self.cursor}" if started else ""
