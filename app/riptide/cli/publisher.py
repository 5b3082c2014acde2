"""Sends batches, one request at a time, and keeps track of what is published for certain."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from riptide.cli.errors import BadLineError, CommandError, OutcomeUnknownError, TemporaryError
from riptide.cli.service import explain, problem_of, retry_after, topic_url, unreachable
from riptide.process.http_environment import without_credentials

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2
    import stamina

    from riptide.cli.batches import LineBatch

ACCEPTED, TOO_LARGE = 202, 413
LINE_FAULTS = frozenset({TOO_LARGE, 422})
# The service took nothing of the request, so it may be sent again.
BUSY = frozenset({429, 503})
SERVER_FAULT = 500
# The service numbers lines from the start of a batch, this command from that of the input.
_LINE_OF_BATCH = re.compile(r"^line \d+: ")


class Publisher:
    """Publishes batches to a topic in order.

    ``acknowledged`` is the number of messages that the service has acknowledged; ``through`` is
    the last input line that needs nothing more; ``in_flight`` is a batch that was sent and whose
    outcome is unknown; ``body_limit`` is half of the last body that was refused as too large.
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
        self.in_flight: LineBatch | None = None
        self.body_limit: int | None = None
        self._client = client
        self._url = url
        self._target = topic_url(url, topic)
        self._attempts = attempts

    def publish(self, batch: LineBatch) -> None:
        """Publish all lines of the batch, or all before the first that cannot be published.

        Raises:
            BadLineError: the service does not take a line.
            OutcomeUnknownError: no answer says whether the batch was published.
            CommandError: the service refuses the batch, or cannot be reached.

        """
        refusal: BadLineError | None = None
        waiting = [batch]
        while waiting:
            part = waiting.pop()
            answer = None if part.blank else self._deliver(part)
            if answer is None:
                self.through = part.last_line
                continue
            index = _faulty_line(answer, part)
            if index is not None:
                # The service takes all of a batch or nothing: the lines before are sent alone.
                reason = _LINE_OF_BATCH.sub("", explain(answer))
                refusal = BadLineError(part.first_line + index, f"is refused: {reason}")
                waiting = [part.split(index)[0]] if index else []
            elif answer.status_code == TOO_LARGE:
                self.body_limit = len(part.body) // 2
                waiting += reversed(part.split(len(part.lines) // 2))
            else:
                raise CommandError(explain(answer))
        if refusal:
            raise refusal

    def _deliver(self, batch: LineBatch) -> httpx2.Response | None:
        """Send until the batch is acknowledged, or return an answer that retrying cannot change."""
        for attempt in self._attempts():
            with attempt:
                return self._send(batch)
        raise AssertionError  # the last attempt raises its error

    def _send(self, batch: LineBatch) -> httpx2.Response | None:
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
            shown = without_credentials(self._url)
            raise OutcomeUnknownError(f"no answer from {shown} ({reason})") from None
        if response.status_code == ACCEPTED:
            count, self.last_id = _receipt(response)
            self.acknowledged += count
            self.through, self.in_flight = batch.last_line, None
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


def _faulty_line(answer: httpx2.Response, batch: LineBatch) -> int | None:
    """Return the index of the one line for which the service refuses the batch, if there is."""
    line = problem_of(answer).get("line")
    if isinstance(line, int) and 1 <= line <= len(batch.lines):
        return line - 1
    if answer.status_code in LINE_FAULTS and len(batch.lines) == 1:
        return 0
    return None
