"""Follows a topic across lost connections, from one record to the next, without loss."""

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
class Subscription:
    """What to follow, and how."""

    url: str
    topic: str
    protocol: str
    after: str
    until: str | None
    retry_for: float
    reconnect: bool


class Ended(Exception):  # noqa: N818  # also the good end of a finite stream
    """The service ended the stream; ``record`` says why."""

    def __init__(self, record: dict[str, Any]) -> None:
        super().__init__(record.get("detail") or record.get("reason"))
        self.record = record


class Follower:
    """Reads a topic, and reads on after the last record when the connection is lost.

    ``cursor`` is where another stream would go on. ``deliver`` gets the records that arrived
    together, each as bytes and parsed; ``note`` gets what is worth telling a person.
    """

    def __init__(
        self,
        client: httpx2.Client,
        subscription: Subscription,
        deliver: Callable[[list[tuple[bytes, dict[str, Any]]]], None],
        note: Callable[[str], None],
    ) -> None:
        self.cursor = subscription.after
        self._client = client
        self._subscription = subscription
        self._deliver = deliver
        self._note = note
        self._opened = False
        self._idle_losses = 0

    def run(self) -> None:
        """Follow to the end of the topic's stream, if it has one.

        Raises:
            CommandError: it cannot be followed any longer; says where to go on.

        """
        subscription = self._subscription
        while True:
            try:
                self._read_once_opened()
            except Ended as end:
                if end.record.get("reason") == COMPLETED:
                    return
                reason = f"the service ended the stream: {end}"
                if not (end.record.get("reconnect") and subscription.reconnect):
                    raise CommandError(f"{reason}{self._go_on()}") from None
                pause = float(end.record.get("retry", 0)) / 1000
            except BrokenStreamError as error:
                reason = f"the connection was lost: {error}"
                if not subscription.reconnect:
                    raise CommandError(f"{reason}{self._go_on()}") from None
                pause = 0.0
            self._note(f"{reason}; reconnecting")
            time.sleep(pause + self._backoff())

    def _read_once_opened(self) -> NoReturn:
        """Read one stream to its end; until one is open, try again."""
        retry_for = self._subscription.retry_for if self._subscription.reconnect else 0
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
            raise CommandError(f"{error}{tried}{self._go_on()}") from None

    def _read(self) -> NoReturn:
        """Read one stream; what goes wrong before its first record is worth another attempt."""
        subscription = self._subscription
        query = {"after": self.cursor}
        if subscription.until:
            query["until"] = subscription.until
        try:
            with open_stream(
                self._client, subscription.url, subscription.topic, subscription.protocol, query
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
        """Return a jittered wait, longer each time that a stream was lost as soon as it began."""
        self._idle_losses += 1
        return retrying.jitter(min(retrying.WAIT_MAX, retrying.WAIT_JITTER * 2**self._idle_losses))

    def _go_on(self) -> str:
        started = self.cursor != self._subscription.after
        return f"; continue with --after {self.cursor}" if started else ""
