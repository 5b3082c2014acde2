from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.message import MessageId
from riptide.storage.feeds import Feeds
from tests.app.messages import published
from tests.app.storage.feed import ListFeed
from tests.waiting import turns

if TYPE_CHECKING:
    from riptide.message import Receipt
    from riptide.publication import Publication


def _kept(topic: str, first: int, *payloads: bytes) -> tuple[Publication, Receipt]:
    publication = published(topic, payloads)
    return publication, publication.receipt("0a1b2c3d", first)


async def test_each_topic_is_pushed_to_those_who_follow_it_in_later_turns_and_at_once() -> None:
    feeds, one, other, another = Feeds(), ListFeed(), ListFeed(), ListFeed()
    for feed in (one, other):
        feeds.follow("a", feed)
    feeds.follow("b", another)
    kept = [_kept("a", 1, b"1", b"2"), _kept("b", 7, b"3"), _kept("a", 3, b"4"), _kept("c", 1)]
    feeds.push_soon(kept)
    assert not one.pushes
    await turns()
    assert [[message.sequence for message in push] for push in one.pushes] == [[1, 2, 3]]
    assert one.pushes == other.pushes
    (push,) = another.pushes
    assert push[0].id == MessageId("0a1b2c3d", 7)


async def test_who_has_left_meanwhile_is_pushed_nothing() -> None:
    feeds, feed, left = Feeds(), ListFeed(), ListFeed()
    for each in (feed, left):
        feeds.follow("a", each)
    feeds.push_soon([_kept("a", 1, b"1")])
    feeds.unfollow("a", left)
    feeds.unfollow("b", left)
    await turns()
    assert (len(feed.pushes), len(left.pushes)) == (1, 0)
