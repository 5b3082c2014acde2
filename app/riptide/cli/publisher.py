"""Sends batches, one request at a time, and keeps account of what is certain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from riptide.cli.errors import BadLineError, CommandError, OutcomeUnknownError, TemporaryError
from riptide.cli.service import explain, problem_of, retry_after, topic_url, unreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2
    import stamina

    from riptide.cli.batches import Batch

ACCEPTED, TOO_LARGE = 202, 413
LINE_FAULTS = frozenset({TOO_LARGE, 422})
# Nothing of the request has been taken: it may be repeated.
BUSY = frozenset({429, 503})
SERVER_FAULT = 500
# Lines are numbered within a batch there, within the input here.
_LINE_OF_BATCH = re.compile(r"^line \d+: ")


class Publisher:
    """Publishes batches to a topic in order.

    ``acknowledged`` counts the messages that the service has; ``through`` is the input line up
    to which everything is done; ``in_flight`` is a batch of which neither can be said yet;
    ``body_limit`` is what the service takes at once, once it has refused a larger body.
    """

    def __init__(
        self,
        client: httpx2.Client,
        url: str,
        topic: str,
        attempts: Callable[[], Iterator[stamina.Attempt]],
    ) -> None:
        self.acknowledged = 0
        self.last_id: str | None = None
        self.through = 0
        self.in_flight: Batch | None = None
        self.body_limit: int | None = None
        self._client = client
        self._url = url
        self._target = topic_url(url, topic)
        self._attempts = attempts

    def publish(self, batch: Batch) -> None:
        """Publish all lines of the batch, or all before the first that cannot be published.

        Raises:
            BadLineError: the service does not take a line.
            OutcomeUnknownError: the connection was lost before the answer.
            CommandError: the service refuses the batch, or cannot be reached.

        """
        refusal: BadLineError | None = None
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            answer = None if part.blank else self._deliver(part)
            if answer is None:
                self.through = part.last
                continue
            index = _faulty_line(answer, part)
            if index is not None:
                # A batch is all or nothing: what stands before the bad line goes alone.
                reason = _LINE_OF_BATCH.sub("", explain(answer))
                refusal = BadLineError(part.first + index, f"is refused: {reason}")
                waiting = [part.split(index)[0]] if index else []
            elif answer.status_code == TOO_LARGE:
                self.body_limit = len(part.body) // 2
                waiting += reversed(part.split(len(part.lines) // 2))
            else:
                raise CommandError(explain(answer))
        if refusal:
            raise refusal

    def _deliver(self, batch: Batch) -> httpx2.Response | None:
        """Send until it is acknowledged, or return the answer that trying again cannot change."""
        for attempt in self._attempts():
            with attempt:
                return self._send(batch)
        raise AssertionError  # the last attempt raises its error

    def _send(self, batch: Batch) -> httpx2.Response | None:
        import httpx2  # noqa: PLC0415  # as in open_client

        self.in_flight = batch
        try:
            response = self._client.post(
                self._target,
                content=batch.body,
                headers={"Content-Type": "application/x-ndjson"},
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError) as error:
            self.in_flight = None
            raise TemporaryError(unreachable(self._url, error)) from None
        except httpx2.TransportError as error:
            reason = str(error) or type(error).__name__
            raise OutcomeUnknownError(f"no answer from {self._url} ({reason})") from None
        if response.status_code == ACCEPTED:
            count, self.last_id = _receipt(response)
            self.acknowledged += count
            self.through, self.in_flight = batch.last, None
            return None
        if response.status_code in BUSY:
            self.in_flight = None
            raise TemporaryError(explain(response), retry_after=retry_after(response))
        if response.status_code >= SERVER_FAULT:
            raise OutcomeUnknownError(explain(response))
        self.in_flight = None
        return response


def _receipt(response: httpx2.Response) -> tuple[int, str]:
    """Return how many messages are acknowledged, and the id of the last one."""
    try:
        receipt = response.json()
        return int(receipt["count"]), str(receipt["ids"]["last"])
    except (ValueError, TypeError, KeyError):
        raise OutcomeUnknownError(explain(response)) from None


def _faulty_line(answer: httpx2.Response, batch: Batch) -> int | None:
    """Return the index of the line for which the service refuses the batch, if it is one line."""
    line = problem_of(answer).get("line")
    if isinstance(line, int) and 1 <= line <= len(batch.lines):
        return line - 1
    if answer.status_code in LINE_FAULTS and len(batch.lines) == 1:
        return 0
    return None
