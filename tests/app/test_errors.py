from __future__ import annotations

import re

import pytest

from riptide import errors
from riptide.errors import AcceptRateError, InvalidMessageError, ProblemError, RiptideError
from riptide_telemetry import PublishOutcome, RejectReason


def _tree() -> list[tuple[int, str, str]]:
    """Return depth, name and remark of each line of the tree that the docstring draws."""
    lines = (errors.__doc__ or "").splitlines()
    found = []
    for line in lines:
        match = re.fullmatch(r"([│├└─ ]*)(\w+Error)(?: +(\S.*))?", line)
        if match:
            found.append((len(match[1]) // 4, match[2], match[3] or ""))
    return found


def _subclasses(cls: type[RiptideError]) -> list[type[RiptideError]]:
    return [
        cls,
        *(
            descendant
            for child in cls.__subclasses__()
            if child.__module__ == errors.__name__
            for descendant in _subclasses(child)
        ),
    ]


def test_the_drawn_tree_is_the_tree() -> None:
    path: list[str] = []
    for depth, name, _ in _tree():
        path[depth:] = [name]
        parent = getattr(errors, name).__bases__[0]
        assert parent.__name__ == (path[-2] if depth else "Exception")
    assert [name for _, name, _ in _tree()] == [cls.__name__ for cls in _subclasses(RiptideError)]


def test_the_drawn_statuses_are_the_statuses() -> None:
    remarks = {name: remark for _, name, remark in _tree()}
    for cls in _subclasses(ProblemError)[1:]:
        assert issubclass(cls, ProblemError)
        assert remarks[cls.__name__].startswith(str(int(cls.status)))


def test_every_problem_has_a_type_and_a_title_of_its_own() -> None:
    problems = [cls for cls in _subclasses(ProblemError)[1:] if issubclass(cls, ProblemError)]
    assert len({cls.slug for cls in problems}) == len(problems)
    assert len({cls.title for cls in problems}) == len(problems)


def test_a_problem_is_an_object_of_rfc_9457() -> None:
    problem = InvalidMessageError("line 2: not valid JSON", line=2)
    assert problem.body() == {
        "type": "urn:riptide:problem:invalid-message",
        "title": "Invalid message",
        "status": 400,
        "detail": "line 2: not valid JSON",
        "line": 2,
    }
    assert problem.headers() == {}
    assert str(problem) == "line 2: not valid JSON"


@pytest.mark.parametrize("seconds", [0, 5])
def test_a_wait_that_is_asked_for_becomes_a_header(seconds: int) -> None:
    assert AcceptRateError("full", retry_after=seconds).headers() == {"Retry-After": str(seconds)}


def _problems() -> list[type[ProblemError]]:
    return [cls for cls in _subclasses(ProblemError)[1:] if issubclass(cls, ProblemError)]


def test_every_problem_knows_the_labels_that_it_counts_as() -> None:
    for cls in _problems():
        assert isinstance(cls.reject_reason, RejectReason), cls
        assert isinstance(cls.publish_outcome, PublishOutcome), cls


def test_every_label_of_a_refusal_is_that_of_a_problem() -> None:
    assert {cls.reject_reason for cls in _problems()} == set(RejectReason)
    refused = set(PublishOutcome) - {PublishOutcome.ACCEPTED}
    assert {cls.publish_outcome for cls in _problems()} == refused


def test_a_problem_that_nobody_has_given_labels_counts_as_a_wrong_request() -> None:
    class NewError(ProblemError):
        """One that somebody adds."""

    assert NewError.reject_reason is RejectReason.INVALID_REQUEST
    assert NewError.publish_outcome is PublishOutcome.INVALID
