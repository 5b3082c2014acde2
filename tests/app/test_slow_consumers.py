from __future__ import annotations

import pytest

from riptide.slow_consumers import SlowConsumerPolicy, SlowConsumerRule, parse_rules, policy_for

RULES = "prices.*=latest, logs.*=drop_oldest,prices.log=disconnect"


@pytest.mark.parametrize("policy", list(SlowConsumerPolicy))
def test_a_policy_alone_is_that_of_all_topics(policy: SlowConsumerPolicy) -> None:
    assert parse_rules(str(policy)) == (SlowConsumerRule("*", policy),)


@pytest.mark.parametrize(
    ("topic", "policy"),
    [
        ("prices.eur", SlowConsumerPolicy.LATEST),
        ("prices.", SlowConsumerPolicy.LATEST),
        ("logs.prices.eur", SlowConsumerPolicy.DROP_OLDEST),
        ("prices.log", SlowConsumerPolicy.LATEST),
        ("prices", SlowConsumerPolicy.DISCONNECT),
        ("Prices.eur", SlowConsumerPolicy.DISCONNECT),
        ("old.prices.eur", SlowConsumerPolicy.DISCONNECT),
    ],
)
def test_the_first_rule_whose_pattern_fits_the_whole_name_counts(
    topic: str, policy: SlowConsumerPolicy
) -> None:
    assert policy_for(topic, parse_rules(RULES)) is policy


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "''"),
        ("drop", "'drop'"),
        ("prices.*=", "''"),
        ("=latest", "''"),
        ("latest,", "''"),
        ("a b=latest", "'a b'"),
        ("prices[0-9]=latest", "'prices[0-9]'"),
        ("a=b=latest", "'a=b'"),
    ],
)
def test_what_is_no_rule_is_named(text: str, wrong: str) -> None:
    with pytest.raises(ValueError, match="is not a") as caught:
        parse_rules(text)
    assert wrong in str(caught.value)
