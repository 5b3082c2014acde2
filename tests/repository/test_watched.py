"""Whatever runs by itself is watched: the list of it, and who hears of it when it raises."""

from __future__ import annotations

import ast
from collections import Counter

from tests.repository.sources import ROOT, module_name, python_files

# What starts a task or a thread, or leaves a function to the event loop.
STARTERS = {
    "Thread",
    "ThreadPoolExecutor",
    "TaskGroup",
    "Timer",
    "add_done_callback",
    "call_at",
    "call_later",
    "call_soon",
    "call_soon_threadsafe",
    "create_task",
    "ensure_future",
}
# What a callback of the service as a whole raises is reported by `process/faults.py`, and what one
# of a single connection raises is logged: `caught_on_loop` tells them apart.
ON_LOOP = "caught_on_loop"
WATCHED = {
    "riptide.access.keyring": {"create_task": "its only users await it, and are watched"},
    "riptide.cli.event_loop": {"create_task": "the command awaits it"},
    "riptide.cli.health": {"Thread": "the command gives up after its timeout"},
    "riptide.cli.lines": {"Thread": "hands its error to the command"},
    "riptide.hub.fanout": {"call_soon": "reports the fault, and leaves consumers to their tasks"},
    "riptide.hub.hub": {"add_done_callback": "reports the fault"},
    "riptide.hub.log_reads": {
        "add_done_callback": ON_LOOP,
        "call_later": ON_LOOP,
        "create_task": "hands the error to those who wait for the read",
    },
    "riptide.hub.right_of_way": {"call_later": ON_LOOP, "call_soon": ON_LOOP},
    "riptide.hub.turns": {"call_soon": ON_LOOP},
    "riptide.lifespan": {"call_soon_threadsafe": ON_LOOP},
    "riptide.process.background": {
        "create_task": "the callback below reports its end",
        "add_done_callback": ON_LOOP,
    },
    "riptide.process.standard_error": {"Thread": "counts what it could not write"},
    "riptide.server.http_limits": {"call_later": ON_LOOP},
    "riptide.server.opening": {"create_task": "the start awaits it"},
    "riptide.server.serving": {
        "call_later": ON_LOOP,
        "call_soon_threadsafe": ON_LOOP,
        "create_task": ON_LOOP,
    },
    "riptide.server.shared_listener": {
        "add_done_callback": ON_LOOP,
        "call_later": ON_LOOP,
        "create_task": ON_LOOP,
    },
    "riptide.server.threads": {"ThreadPoolExecutor": "who calls gets the error"},
    "riptide.server.websocket_limits": {"call_soon": ON_LOOP},
    "riptide.storage.checkpoints": {"Thread": "reports the fault"},
    "riptide.storage.feeds": {"call_soon": ON_LOOP},
    "riptide.storage.jetstream.appender": {
        "add_done_callback": ON_LOOP,
        "create_task": "answers those who wait, and the loop logs its error",
    },
    "riptide.storage.jetstream.engine": {"create_task": "the start awaits it"},
    "riptide.storage.jetstream.follower": {
        "add_done_callback": ON_LOOP,
        "call_soon": ON_LOOP,
        "create_task": "the loop logs its error",
    },
    "riptide.storage.jetstream.log": {
        "TaskGroup": "ends with the first of its tasks",
        "create_task": "the watch of the log hears of its end",
    },
    "riptide.storage.jetstream.migration": {"create_task": "the command awaits them"},
    "riptide.storage.memory": {"call_soon": ON_LOOP},
    "riptide.storage.self_check": {"Thread": "says that it did not come to its end"},
    "riptide.storage.shared.client": {
        "add_done_callback": "reports the fault of the task that stays connected",
        "create_task": "the callback reports its end",
    },
    "riptide.storage.shared.followed_topics": {
        "add_done_callback": ON_LOOP,
        "call_soon": ON_LOOP,
        "create_task": "the loop logs its error",
    },
    "riptide.storage.shared.link": {"call_soon": ON_LOOP},
    "riptide.storage.shared.server": {
        "add_done_callback": ON_LOOP,
        "create_task": "answers with the error",
    },
    "riptide.storage.sqlite": {"ThreadPoolExecutor": "who calls gets the error"},
    "riptide.storage.sqlite_reader": {"ThreadPoolExecutor": "who calls gets the error"},
    "riptide.storage.sqlite_writer": {
        "Thread": "reports the fault, and refuses all appends",
        "call_soon_threadsafe": ON_LOOP,
    },
    "riptide.streaming.drain": {"create_task": "guards each session, and whoever awaits it"},
    "riptide.streaming.session": {"create_task": "ends its session with an error"},
    "riptide.workers.lifeline": {
        "Thread": "the supervisor kills a worker without signs of life",
        "call_soon_threadsafe": ON_LOOP,
    },
    "riptide.workers.log_process": {"call_soon_threadsafe": ON_LOOP},
    "riptide_telemetry.otlp.exports": {"Thread": "the shutdown waits for its deadline only"},
}


def test_everything_that_runs_by_itself_is_on_the_list_of_what_is_watched() -> None:
    found: dict[str, set[str]] = {}
    for file in python_files("app", "telemetry"):
        names = Counter(
            node.attr if isinstance(node, ast.Attribute) else node.id
            for node in ast.walk(ast.parse((ROOT / file).read_text()))
            if isinstance(node, ast.Attribute | ast.Name)
        )
        starters = STARTERS & set(names)
        if starters:
            found[module_name(file)] = starters
    assert found == {module: set(ways) for module, ways in WATCHED.items()}
