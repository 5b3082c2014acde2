"""Questions to the process of the log, and the errors that it answers with."""

from __future__ import annotations

import asyncio
import itertools
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from riptide.errors import (
    DamagedMessagesError,
    LogUnavailableError,
    TopicLimitError,
    UncertainAppendError,
)
from riptide.storage.message_log import RETRY_AFTER_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from riptide.storage.shared import frames
    from riptide.storage.shared.link import Link

# A question that has not been answered after so long is given up.
TIMEOUT_S = 15.0

A = TypeVar("A", bound="frames.Answer")


class _Question(NamedTuple):
    frame: frames.Asked
    answer: asyncio.Future[frames.Answer]


class Questions:
    """The questions that wait for an answer.

    ``send`` passes a question on, if there is a process to pass it on to.
    """

    def __init__(self, send: Callable[[frames.Asked], None]) -> None:
        self._send = send
        # Each request, appends included, has another number.
        self.numbers = itertools.count(1)
        self._waiting: dict[int, _Question] = {}

    async def ask(self, make: Callable[[int], frames.Asked], kind: type[A]) -> A:
        """Ask what ``make`` returns for the number of the request; return an answer of its kind.

        Raises:
            DamagedMessagesError: the messages that were asked for are damaged.
            LogUnavailableError: there is no answer, or it is that the log cannot be read.

        """
        request = next(self.numbers)
        answer: asyncio.Future[frames.Answer] = asyncio.get_running_loop().create_future()
        question = self._waiting[request] = _Question(make(request), answer)
        self._send(question.frame)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                found = await answer
        except TimeoutError:
            raise LogUnavailableError(
                f"the message log cannot be read (its process has not answered for "
                f"{TIMEOUT_S:.0f} s); try again later",
                retry_after=RETRY_AFTER_S,
            ) from None
        finally:
            self._waiting.pop(request, None)
        assert isinstance(found, kind)  # noqa: S101  # each question has one kind of answer
        return found

    def ask_again(self, link: Link) -> None:
        """Ask another process what the one before has not answered."""
        for question in self._waiting.values():
            link.send(question.frame)

    def take(self, answer: frames.Answer) -> None:
        """Take an answer, also one for which nobody waits any more."""
        question = self._waiting.get(answer.request)
        if question is not None and not question.answer.done():
            question.answer.set_result(answer)

    def take_failure(self, failed: frames.Failed) -> None:
        """Take an error for an answer."""
        question = self._waiting.get(failed.request)
        if question is not None and not question.answer.done():
            question.answer.set_exception(error_of(failed))


_PROBLEMS = {
    kind.__name__: kind for kind in (LogUnavailableError, TopicLimitError, UncertainAppendError)
}


def error_of(failed: frames.Failed) -> Exception:
    """Return the error that the process of the log has met."""
    if failed.kind == DamagedMessagesError.__name__:
        return DamagedMessagesError(failed.topic, failed.first, failed.last)
    kind = _PROBLEMS.get(failed.kind, LogUnavailableError)
    return kind(failed.detail, retry_after=failed.retry_after)
