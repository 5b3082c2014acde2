from __future__ import annotations

import pytest

from riptide.storage.live_topics import Earliest, LiveTopic, LiveTopics
from riptide.storage.message_log import Retention

OLD, NOW = 10, 20
ALL = Retention(100, 60)


def _due(topics: LiveTopics, oldest_kept: int = NOW) -> set[int]:
    return {topic.topic_id for topic in topics.due(oldest_kept, 100)}


def test_only_topics_whose_oldest_message_has_expired_are_due() -> None:
    topics = LiveTopics(ALL, [LiveTopic(n, str(n), Earliest(1, n), 1) for n in range(1, 40)])
    assert _due(topics, 5) == {1, 2, 3, 4}
    assert len(topics) == 39
    assert 39 in topics
    assert 40 not in topics


def test_a_topic_with_more_messages_than_are_kept_is_due() -> None:
    topics = LiveTopics(Retention(3, 60), [LiveTopic(1, "1", Earliest(1, NOW), 3)])
    assert _due(topics) == set()
    topics.grow(1, 4)
    assert _due(topics) == {1}


def test_a_topic_stays_due_until_a_deletion_has_settled_it() -> None:
    topic = LiveTopic(1, "1", Earliest(1, OLD), 4)
    topics = LiveTopics(ALL, [topic])
    assert topics.due(NOW, 100) == topics.due(NOW, 100) == [topic]
    topics.settle(topic, Earliest(4, NOW))
    assert _due(topics) == set()
    assert topics.due(NOW + 1, 100) == [LiveTopic(1, "1", Earliest(4, NOW), 4)]


def test_a_topic_that_is_settled_with_expired_messages_left_is_due_again() -> None:
    topic = LiveTopic(1, "1", Earliest(1, OLD), 4)
    topics = LiveTopics(ALL, [topic])
    topics.due(NOW, 100)
    topics.settle(topic, Earliest(2, OLD))
    assert topics.due(NOW, 100) == [LiveTopic(1, "1", Earliest(2, OLD), 4)]


@pytest.mark.parametrize("accepted_at", [OLD, NOW])
def test_a_topic_without_messages_is_forgotten_until_it_has_some(accepted_at: int) -> None:
    topic = LiveTopic(1, "1", Earliest(1, OLD), 4)
    topics = LiveTopics(ALL, [topic])
    topics.due(NOW, 100)
    topics.settle(topic, None)
    assert (1 in topics, len(topics), _due(topics, 10**9)) == (False, 0, set())
    topics.update(LiveTopic(1, "1", Earliest(5, accepted_at), 5))
    assert _due(topics) == ({1} if accepted_at < NOW else set())
