"""What is to be said of the servers: versions, number, room, clocks, writes to disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.storage.jetstream.findings import ok, risk, wrong
from riptide.storage.jetstream.stream import OLDEST_VERSION, too_old

if TYPE_CHECKING:
    from collections.abc import Iterator

    from riptide.storage.jetstream.facts import Facts
    from riptide.storage.jetstream.findings import Finding

# From here on, servers write through for many messages at once.
RECOMMENDED_VERSION = (2, 14)
MEBIBYTE = 1024 * 1024
# Part of the room that should be left.
SPARE_PART = 0.1
# A clock that is off by so much shows in latencies; by the other, messages expire too early.
CLOCK_RISK_S, CLOCK_WRONG_S = 1.0, 60.0


def about_servers(facts: Facts, replicas: int) -> Iterator[Finding]:
    """Yield what is to be said; ``replicas`` are those that the stream has, or will have."""
    yield from _servers(facts, replicas)
    yield from _jetstream(facts)
    yield from _room(facts)
    yield from _clock(facts)
    yield from _sync(facts, replicas, synced=is_synced(facts))


def _servers(facts: Facts, replicas: int) -> Iterator[Finding]:
    for server in facts.servers:
        version = ".".join(map(str, server.version))
        if server.version < OLDEST_VERSION:
            yield wrong("version", too_old(f"server {server.name}", server.version))
        elif server.version < RECOMMENDED_VERSION:
            yield risk(
                "version",
                f"server {server.name} is of version {version}: use 2.14 or later, which makes "
                "sync_interval: always cheap",
            )
        else:
            yield ok("version", f"server {server.name} is of version {version}")
    for address, reason in facts.unreachable.items():
        yield risk("servers", f"{address} of RIPTIDE_JETSTREAM_URLS cannot be used: {reason}")
    names = facts.server_names()
    unseen = sorted(names - {server.name for server in facts.servers})
    if unseen:
        yield risk(
            "version",
            f"the versions of {', '.join(unseen)} cannot be seen from here: check that they are "
            "2.12 or later (nats server list)",
        )
    count = len(names)
    listed = (
        f"{count} {'server is' if count == 1 else 'servers are'} known: {', '.join(sorted(names))}"
    )
    if count < replicas:
        yield wrong("servers", f"{listed}; {replicas} replicas need as many servers")
    elif count > 1 and count % 2 == 0:
        yield risk(
            "servers",
            f"{listed}; the loss of no more of them is survived than with one less: add one",
        )
    else:
        yield ok("servers", listed)
    if count > 1 and facts.addresses_given == 1:
        yield risk(
            "servers",
            "RIPTIDE_JETSTREAM_URLS has one address: unless that leads to all servers, an instance "
            "that starts while it is down finds none. List all",
        )


def _jetstream(facts: Facts) -> Iterator[Finding]:
    if facts.account is not None or facts.stream is not None or facts.is_there_no_stream:
        yield ok("jetstream", "JetStream answers")
    else:
        yield wrong(
            "jetstream",
            f"JetStream does not answer ({facts.trouble}): enable it on the servers and for the "
            "account, see that a majority of the servers runs, and that the user may ask",
        )


def _room(facts: Facts) -> Iterator[Finding]:
    is_known = False
    account = facts.account or {}
    for tier in (account, *(account.get("tiers") or {}).values()):
        limit = (tier.get("limits") or {}).get("max_storage", -1)
        if limit > 0:
            is_known = True
            yield _left("the account", limit, int(tier.get("storage", 0)))
    for state in facts.states:
        is_known = True
        yield _left(f"server {state.name}", state.store_bytes, state.used_bytes)
    if not is_known:
        yield ok(
            "room",
            "no limit of the account is known, and what the servers' disks have is to be seen "
            "only by --monitor-url",
        )


def _left(whose: str, limit: int, used: int) -> Finding:
    text = (
        f"{whose} has room for {limit / MEBIBYTE:,.0f} MiB in files, of which "
        f"{used / MEBIBYTE:,.0f} are used"
    )
    if used >= limit:
        return wrong("room", f"{text}: publishes are refused. Raise max_file_store or its limit")
    if used > limit * (1 - SPARE_PART):
        return risk("room", f"{text}: raise max_file_store or its limit before it is full")
    return ok("room", text)


def _clock(facts: Facts) -> Iterator[Finding]:
    if facts.clock is None:
        yield ok("clock", "there is no stream whose leader could tell its time")
        return
    offset_s, uncertainty_s = facts.clock
    text = (
        f"this machine's clock is {abs(offset_s) * 1000:,.1f} ms "
        f"{'ahead of' if offset_s > 0 else 'behind'} the leader's, give or take "
        f"{uncertainty_s * 1000:,.1f} ms"
    )
    least_s = abs(offset_s) - uncertainty_s
    if least_s > CLOCK_WRONG_S:
        yield wrong("clock", f"{text}: messages expire at the wrong time. Synchronize both (NTP)")
    elif least_s > CLOCK_RISK_S:
        yield risk("clock", f"{text}: synchronize both (NTP), or latencies are not what they seem")
    else:
        yield ok("clock", text)


def is_synced(facts: Facts) -> bool | None:
    """Return whether all servers write through before they acknowledge; None if unknown."""
    if any(not state.is_synced for state in facts.states):
        return False
    # One that was not seen may be the one that does not.
    seen = {state.name for state in facts.states}
    return True if seen and seen >= facts.server_names() else None


def _sync(facts: Facts, replicas: int, *, synced: bool | None) -> Iterator[Finding]:
    for name, reason in facts.silent_monitors.items():
        yield risk("sync", f"the monitoring of {name} does not help: {reason}")
    for state in facts.states:
        if state.is_synced:
            yield ok("sync", f"server {state.name} has sync_interval: always")
        else:
            yield risk(
                "sync",
                f"server {state.name} writes to its disk every {state.sync_interval_s:,.0f} s: "
                f"{_at_loss_of_power(replicas)}. Set sync_interval: always in jetstream {{}} of it",
            )
    if synced is not None:
        return
    seen = {state.name for state in facts.states}
    unseen = ", ".join(sorted(facts.server_names() - seen)) or "the servers"
    yield risk(
        "sync",
        f"sync_interval of {unseen} cannot be seen from here: unless it is always, "
        f"{_at_loss_of_power(replicas)}. Look into the configuration of each, or give "
        "--monitor-url http://HOST:8222 of each",
    )


def _at_loss_of_power(replicas: int) -> str:
    if replicas == 1:
        return "a loss of power loses messages that were acknowledged before"
    return "a loss of power of several machines at once loses messages that were acknowledged"
