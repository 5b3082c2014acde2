from __future__ import annotations

from typing import Any

import pytest

from riptide.access.grants import EVERYTHING, Action, Grants, check_pattern, parse_grants


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("orders", "orders", True),
        ("orders", "orders.eu", False),
        ("orders", "xorders", False),
        ("orders.*", "orders.eu.paris", True),
        ("orders.*", "orders", False),
        ("*", "anything:at~all", True),
        ("user-?", "user-7", True),
        ("user-?", "user-77", False),
        ("Orders", "orders", False),
        ("", "orders", False),
    ],
)
def test_a_pattern_fits_whole_names_only(pattern: str, topic: str, *, fits: bool) -> None:
    assert Grants(subscribe=(pattern,)).allow(Action.SUBSCRIBE, topic) is fits


def test_what_may_be_read_may_not_be_published_and_the_other_way_round() -> None:
    grants = parse_grants({"publish": ["in"], "subscribe": ["out", "log"]})
    assert grants.allow(Action.PUBLISH, "in")
    assert grants.allow(Action.SUBSCRIBE, "log")
    assert not grants.allow(Action.SUBSCRIBE, "in")
    assert not grants.allow(Action.PUBLISH, "out")


@pytest.mark.parametrize("claim", [None, {}, {"publish": []}])
def test_without_a_pattern_there_is_no_right(claim: Any) -> None:
    grants = parse_grants(claim)
    assert not any(grants.allow(action, "a") for action in Action)


def test_everything_is_everything() -> None:
    assert all(EVERYTHING.allow(action, "a.b") for action in Action)


@pytest.mark.parametrize(
    "claim", ["*", ["*"], {"publish": "*"}, {"publish": [1]}, {"read": ["*"]}, {"publish": None}]
)
def test_a_claim_of_another_shape_is_an_error_and_not_a_right(claim: Any) -> None:
    with pytest.raises(ValueError, match="riptide"):
        parse_grants(claim)


def test_a_pattern_of_many_stars_is_no_way_to_keep_us_busy() -> None:
    assert not Grants(publish=("a*" * 64 + "b",)).allow(Action.PUBLISH, "a" * 128)


@pytest.mark.parametrize("pattern", ["*", "orders.*", "a?c", "A~b_c:d-e.f", "x" * 128])
def test_a_pattern_is_made_of_the_characters_of_topics_and_wildcards(pattern: str) -> None:
    assert check_pattern(pattern) == pattern


@pytest.mark.parametrize("pattern", ["", "a b", "a/b", "[ab]", "café", "x" * 129, "a\n"])
def test_a_pattern_that_no_topic_can_fit_is_none(pattern: str) -> None:
    with pytest.raises(ValueError, match="fits no topic"):
        check_pattern(pattern)
