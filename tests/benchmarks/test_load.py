from __future__ import annotations

import subprocess
from dataclasses import replace

import pytest

from benchmarks import load, load_client
from benchmarks.contest import NCHAN, RIPTIDE, Contest, Entry
from benchmarks.load import Plan
from tests.programs import require

PLAN = Plan(consumers=3, seconds=0.1, publishers=2)


def test_the_load_clients_own_tests_pass() -> None:
    go = require("go")
    for command in (["vet", "./..."], ["test", "./..."]):
        outcome = subprocess.run(
            [go, *command], cwd=load_client.SOURCES, capture_output=True, check=False
        )
        assert outcome.returncode == 0, outcome.stdout.decode() + outcome.stderr.decode()


def test_without_go_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    load_client.built.cache_clear()
    with pytest.raises(RuntimeError, match="install it"):
        load_client.built()


def test_a_peer_that_is_not_installed_is_left_out_by_name() -> None:
    absent = replace(NCHAN, programs=("no-such-program",))
    contest = Contest([Entry("absent", absent, PLAN)], rounds=2).hold()
    assert contest.left_out == {"absent": "not installed: no-such-program"}
    assert not list(contest.figure("absent", "rate", "", lambda outcome: outcome.p50_ms))
    assert not list(contest.ratio("absent", "absent", "p50", lambda outcome: outcome.p50_ms))


def test_a_peer_that_fails_is_left_out_and_riptide_is_not() -> None:
    require("go")
    wrong = {**RIPTIDE.publish, "path": "/nowhere"}
    failing = replace(RIPTIDE, name="another", publish=wrong)
    contest = Contest([Entry("failing", failing, PLAN)], rounds=1).hold()
    assert "a publish was refused" in contest.left_out["failing"]
    ours = replace(RIPTIDE, publish=wrong)
    with pytest.raises(RuntimeError, match="a publish was refused"):
        Contest([Entry("ours", ours, PLAN)], rounds=1).hold()


def test_every_message_reaches_every_consumer_once() -> None:
    require("go")
    with RIPTIDE.serve() as serving:
        outcome = load.run(RIPTIDE, serving, PLAN)
    assert outcome.result["deliveries"] == PLAN.consumers * outcome.result["published"]
    assert outcome.result["published"] > 0
