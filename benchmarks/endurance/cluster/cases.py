"""The faults: what is done, and what may come of it besides a wait."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

import orjson

from benchmarks.endurance.cluster.trial import STREAM, Trial
from benchmarks.endurance.promises import ACCEPTED, request

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from benchmarks.endurance.place import Place

# An election takes 4 to 9 seconds. A leader that hears nothing steps down after 10 to 20, and one
# that comes back after a partition can make the others elect once more.
LONGEST_SILENCE_S, SEVERAL_ELECTIONS_S = 15.0, 35.0
# How long a network is cut, a process stands still, and other faults last.
CUT_S, STILL_S, FAULT_S = 30.0, 16.0, 12.0
# Longer than RIPTIDE_LOG_LOST_SECONDS (30), and what it takes to notice a dead connection.
LONG_CUT_S = 50.0
SLOW_S = 10.0
CLOCK_STEP_S = 30
# Shorter than any that Riptide creates a stream with, and some times as long as it takes instances
# to look at all topics (5 s at least).
SHORT_RETENTION_S, SHORT_AGE_S = 2.0, 20.0
# Instances look after idle topics from the first minute on.
FIRST_ROUND_S = 62.0
LOST_SHARE = 0.3


class Aside(NamedTuple):
    """Instances that the fault itself holds up.

    ``silent`` are those whose consumers may have to wait for longer; ``ended`` those whose streams
    may end.
    """

    silent: frozenset[Place] = frozenset()
    ended: frozenset[Place] = frozenset()


class Case(NamedTuple):
    """A fault."""

    name: str
    do: Callable[[Trial], Awaitable[Aside]]
    # None if there is a time in which no majority of servers lives, or none has room.
    longest_silence_s: float | None = LONGEST_SILENCE_S
    # False if what was acknowledged is taken away: then no id may come twice with other content.
    keeps_all: bool = True
    logs_are_whole: bool = True
    limits: str = ""
    # How long the stream keeps a record; None is what Riptide creates it with.
    stream_age_s: float | None = None
    settings: Mapping[str, object] = MappingProxyType({})
    # Programs that it needs.
    needs: tuple[str, ...] = ()


ALL_WAIT = Aside()


async def _nothing(trial: Trial) -> Aside:
    await trial.servers.until_whole()
    await asyncio.sleep(3)
    return ALL_WAIT


async def _kill_the_leader(trial: Trial) -> Aside:
    leader = await trial.servers.leader()
    trial.servers.kill(leader)
    await trial.servers.leader()
    await trial.load.all_go_on()
    trial.servers.start(leader)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _kill_a_follower(trial: Trial) -> Aside:
    follower = trial.servers.others(await trial.servers.leader())[0]
    trial.servers.kill(follower)
    await asyncio.sleep(2)
    trial.servers.start(follower)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _kill_all(trial: Trial) -> Aside:
    trial.servers.kill(*trial.servers.machines)
    for name in trial.servers.machines:
        trial.servers.start(name)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _kill_one_after_another(trial: Trial) -> Aside:
    for name in trial.servers.machines:
        trial.servers.kill(name)
        trial.servers.start(name)
        await trial.servers.until_whole()
        await trial.load.all_go_on()
    return ALL_WAIT


async def _stop_the_leader(trial: Trial) -> Aside:
    leader = await trial.servers.leader()
    trial.servers.send(leader, signal.SIGSTOP)
    await asyncio.sleep(STILL_S)
    trial.servers.send(leader, signal.SIGCONT)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _kill_an_instance(trial: Trial) -> Aside:
    victim = trial.instances[1]
    await trial.restart(victim)
    return Aside(ended=frozenset({victim.place}))


async def _stop_an_instance(trial: Trial) -> Aside:
    victim = trial.instances[1]
    victim.send(signal.SIGSTOP)
    await asyncio.sleep(STILL_S)
    victim.send(signal.SIGCONT)
    return Aside(silent=frozenset({victim.place}))


async def _cut_off_the_leader_and_an_instance(trial: Trial) -> Aside:
    victim, leader = trial.instances[1], await trial.leader()
    trial.network.part(
        [leader, victim.machine],
        trial.server_machines(besides=leader) + trial.instance_machines(besides=victim),
    )
    await asyncio.sleep(CUT_S)
    trial.network.mend()
    await trial.servers.until_whole()
    return Aside(silent=frozenset({victim.place}), ended=frozenset({victim.place}))


async def _cut_off_an_instance(trial: Trial) -> Aside:
    victim = trial.instances[1]
    trial.network.part([victim.machine], trial.server_machines())
    await victim.until_ready(is_wanted=False)
    await asyncio.sleep(LONG_CUT_S)
    trial.network.mend()
    await victim.until_ready()
    return Aside(silent=frozenset({victim.place}), ended=frozenset({victim.place}))


async def _drop_what_an_instance_sends(trial: Trial) -> Aside:
    victim = trial.instances[1]
    trial.network.drop([victim.machine], trial.server_machines())
    await asyncio.sleep(CUT_S)
    trial.network.mend()
    return Aside(silent=frozenset({victim.place}), ended=frozenset({victim.place}))


async def _drop_what_an_instance_is_sent(trial: Trial) -> Aside:
    victim = trial.instances[1]
    trial.network.drop(trial.server_machines(), [victim.machine])
    await asyncio.sleep(CUT_S)
    trial.network.mend()
    return Aside(silent=frozenset({victim.place}), ended=frozenset({victim.place}))


async def _drop_what_the_leader_sends(trial: Trial) -> Aside:
    leader = await trial.leader()
    trial.network.drop([leader], trial.server_machines(besides=leader))
    await asyncio.sleep(CUT_S)
    trial.network.mend()
    await trial.servers.until_whole()
    return ALL_WAIT


async def _drop_what_the_leader_is_sent(trial: Trial) -> Aside:
    leader = await trial.leader()
    trial.network.drop(trial.server_machines(besides=leader), [leader])
    await asyncio.sleep(CUT_S)
    trial.network.mend()
    await trial.servers.until_whole()
    return ALL_WAIT


async def _lose_the_leaders_disk(trial: Trial) -> Aside:
    leader = await trial.servers.leader()
    trial.servers.kill(leader)
    trial.servers.wipe(leader)
    trial.servers.start(leader)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _lose_a_disk_and_the_leader(trial: Trial) -> Aside:
    """Kill the leader when a follower has just come back with nothing."""
    leader = await trial.servers.leader()
    follower = trial.servers.others(leader)[0]
    trial.servers.kill(follower)
    trial.servers.wipe(follower)
    trial.servers.start(follower)
    await asyncio.sleep(1)
    trial.servers.kill(leader)
    # One of three has the messages: the servers wait for another that has some.
    await asyncio.sleep(6)
    trial.servers.start(leader)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _lose_two_disks(trial: Trial) -> Aside:
    """Start the only server that has the messages as the last one."""
    *lost, kept = trial.servers.machines
    trial.servers.kill(*lost, kept)
    for name in lost:
        trial.servers.wipe(name)
        trial.servers.start(name)
    await asyncio.sleep(2)
    trial.servers.start(kept)
    await trial.servers.until_whole()
    return ALL_WAIT


async def _put_back_copies(trial: Trial) -> Aside:
    trial.servers.kill(*trial.servers.machines)
    for name in trial.servers.machines:
        store = trial.servers.store(name)
        await asyncio.to_thread(shutil.copytree, store, store.with_name("copy"))
        trial.servers.start(name)
    trial.load.taken_from_here()
    await trial.servers.until_whole()
    await trial.load.all_go_on()
    trial.servers.kill(*trial.servers.machines)
    # Answers that were on their way have come.
    await asyncio.sleep(1)
    trial.load.taken_to_here()
    for name in trial.servers.machines:
        store = trial.servers.store(name)
        trial.servers.wipe(name)
        store.with_name("copy").rename(store)
        trial.servers.start(name)
    await trial.servers.until_whole()
    return Aside(silent=frozenset(trial.places), ended=frozenset(trial.places))


async def _delete_the_stream(trial: Trial) -> Aside:
    trial.load.taken_from_the_beginning()
    await trial.servers.ask(f"STREAM.DELETE.{STREAM}")
    for instance in trial.instances:
        await instance.until_ready(is_wanted=False)
    trial.load.taken_to_here()
    await trial.restart(trial.instances[0])
    for instance in trial.instances:
        await instance.until_ready()
    return Aside(silent=frozenset(trial.places), ended=frozenset(trial.places))


async def _fill_the_storage(trial: Trial) -> Aside:
    place, topic = trial.instances[0].place, "filling"
    body = orjson.dumps("x" * 200_000)

    def is_taken() -> bool:
        # There may be no answer for as long as an instance tries.
        with contextlib.suppress(OSError):
            return request(place, "POST", f"/topics/{topic}", body)[0] == ACCEPTED
        return False

    while await asyncio.to_thread(is_taken):
        pass
    await asyncio.sleep(FAULT_S)
    # A stream of several servers that have no room has no leader, so that nothing can be deleted.
    trial.servers.limits = ""
    trial.servers.kill(*trial.servers.machines)
    for name in trial.servers.machines:
        trial.servers.start(name)
    await trial.servers.until_whole()
    # The log may have been away for longer than RIPTIDE_LOG_LOST_SECONDS.
    return Aside(ended=frozenset(trial.places))


async def _slow_down_syncs(trial: Trial) -> Aside:
    trial.servers.syncs_are_slow = True
    for name in trial.servers.machines:
        trial.servers.end(name, signal.SIGTERM)
        trial.servers.start(name)
        await trial.servers.until_whole(may_lag=True)
        await trial.load.all_go_on()
    await asyncio.sleep(SLOW_S)
    await trial.load.all_go_on()
    return ALL_WAIT


async def _lose_replies(trial: Trial) -> Aside:
    victim = trial.instances[-1]
    await trial.restart(victim, jetstream_urls=trial.lossy_way.url)
    await trial.load.all_go_on()
    trial.lossy_way.share = LOST_SHARE
    await asyncio.sleep(FAULT_S)
    trial.lossy_way.share = 0.0
    if not trial.lossy_way.lost:
        raise RuntimeError("no answer was lost")
    return Aside(ended=frozenset({victim.place}))


async def _be_idle(trial: Trial) -> Aside:
    await asyncio.sleep(FIRST_ROUND_S)
    async with trial.load.silence():
        await asyncio.sleep(3 * SHORT_AGE_S)
    return ALL_WAIT


async def _step_a_clock(trial: Trial) -> Aside:
    victim = trial.instances[1]
    for seconds in (CLOCK_STEP_S, -CLOCK_STEP_S, 0):
        victim.step_clock(seconds)
        await asyncio.sleep(3)
        await trial.load.all_go_on()
    return ALL_WAIT


CASES = {
    case.name: case
    for case in (
        Case("nothing", _nothing),
        Case("leader killed", _kill_the_leader),
        Case("follower killed", _kill_a_follower),
        Case("all servers killed", _kill_all, longest_silence_s=None),
        Case("servers killed one after another", _kill_one_after_another),
        Case("leader stands still for 16 s", _stop_the_leader),
        Case("instance killed", _kill_an_instance),
        Case("instance stands still for 16 s", _stop_an_instance),
        Case(
            "leader and an instance \\| the rest, 30 s",
            _cut_off_the_leader_and_an_instance,
            longest_silence_s=SEVERAL_ELECTIONS_S,
        ),
        Case("instance \\| servers, 50 s", _cut_off_an_instance),
        Case("instance → servers dropped, 30 s", _drop_what_an_instance_sends),
        Case("servers → instance dropped, 30 s", _drop_what_an_instance_is_sent),
        Case("leader → servers dropped, 30 s", _drop_what_the_leader_sends),
        # The others hear of the leader, and elect none, until it finds out that nobody answers.
        Case(
            "servers → leader dropped, 30 s",
            _drop_what_the_leader_is_sent,
            longest_silence_s=SEVERAL_ELECTIONS_S,
        ),
        Case("disk of the leader lost", _lose_the_leaders_disk),
        Case(
            "disk of a follower lost, leader killed 1 s later",
            _lose_a_disk_and_the_leader,
            longest_silence_s=None,
        ),
        Case("two disks lost, the third server last", _lose_two_disks, longest_silence_s=None),
        Case("older stores put back", _put_back_copies, longest_silence_s=None, keeps_all=False),
        Case("stream deleted", _delete_the_stream, longest_silence_s=None, keeps_all=False),
        Case(
            "no room on the servers, then more",
            _fill_the_storage,
            longest_silence_s=None,
            limits="max_file_store: 24MB",
        ),
        Case("each fsync takes 200 ms longer", _slow_down_syncs, needs=("strace",)),
        Case("3 of 10 acknowledgements lost, 12 s", _lose_replies),
        Case("clock of an instance ±30 s", _step_a_clock, needs=("cc",)),
        Case(
            "idle for three times the stream's age",
            _be_idle,
            logs_are_whole=False,
            stream_age_s=SHORT_AGE_S,
            settings={"retention_seconds": SHORT_RETENTION_S},
        ),
    )
}
