"""Which cause makes which alert fire. Each load is chosen to make one alert fire.

A warning and its critical alert have a step each, because a warning that the critical one silences
is never delivered.
"""

from __future__ import annotations

import datetime as dt
import sys
from typing import TYPE_CHECKING, Final

from operations.drill import causes, damaged_log, shared_log
from operations.drill.credentials import KEY_FILE, foreign_token, public_keys, write_secret
from operations.drill.full_disk import DATA_DIRECTORY, fill_the_disk
from operations.drill.hanging_disk import hang_the_disk
from operations.drill.monitoring import BLIND_JOB
from operations.drill.nats import NatsServer, Network
from operations.drill.scenario import Scenario, Step
from operations.ports import free_port

if TYPE_CHECKING:
    from operations.drill.scenario import Act

_KIBIBYTE: Final = 1024
_GIBIBYTE: Final = 1024 * _KIBIBYTE * _KIBIBYTE
_NO_WRITE_TIMEOUT: Final = 3600
_FAULTY_SERVICE: Final = (sys.executable, "-m", "operations.drill.faulty_service")
# A ring that a slow reader soon falls off.
_SMALL_RING: Final = {"slow_consumer": "drop_oldest", "ring_messages": 32}
_CERTIFICATE_FILES: Final = {"tls_certificate": "certificate.pem", "tls_key": "key.pem"}
_LAG_ALERTS: Final = ("RiptideConsumersBehind", "RiptideOldestUndeliveredMessage")
_PAIRS_THAT_PAGE: Final = ("1h", "6h")
_PAIRS_OF_TICKETS: Final = ("1d", "3d")


def scenarios() -> tuple[Scenario, ...]:
    """Return all scenarios, those that take longest to resolve first."""
    return (
        *_objectives(),
        *_certificates(),
        *_connections(),
        *_messages(),
        *_process(),
        *_access(),
        exports(),
        damage(),
        hanging_disk(),
        _held_log(),
        _stopped_log(),
        full_disk(),
        *clusters(),
        wrong_clock(),
    )


def _step(cause: str, act: Act, *names: str) -> Step:
    return Step(cause, act, tuple((name, "") for name in names))


def _burning(cause: str, act: Act, name: str) -> tuple[Step, ...]:
    return (
        Step(
            cause,
            act,
            tuple((name, window) for window in _PAIRS_THAT_PAGE),
            tuple((name, window) for window in _PAIRS_OF_TICKETS),
        ),
    )


def _objectives() -> tuple[Scenario, ...]:
    return (
        Scenario(
            "success",
            _burning(
                "two consumers read half of what is published, and lose the rest",
                causes.slow_readers(2, 0, read_share=0.5),
                "RiptideDeliverySuccessBudgetBurn",
            ),
            _SMALL_RING,
        ),
        Scenario(
            "latency",
            _burning(
                "four consumers read a quarter of what is published, and fall behind",
                causes.slow_readers(4, 0, read_share=0.25),
                "RiptideDeliveryLatencyBudgetBurn",
            ),
            {"ring_messages": 1_000_000, "ring_bytes": _GIBIBYTE},
        ),
    )


def _connections() -> tuple[Scenario, ...]:
    return (
        Scenario(
            "durations",
            (
                _step(
                    "consumers stay for 65 seconds and leave",
                    causes.long_visits(150, seconds=65, per_second=3),
                    "RiptideConnectionDurationP99High",
                ),
            ),
        ),
        Scenario(
            "connections",
            (
                _step(
                    "120 consumers are connected",
                    causes.connected(120),
                    "RiptideActiveConnectionsHigh",
                ),
            ),
        ),
        Scenario(
            "limit",
            (
                _step(
                    "18 consumers are connected where 20 may be",
                    causes.connected(18),
                    "RiptideConnectionsNearLimit",
                ),
            ),
            {"max_connections": 20},
        ),
        Scenario(
            "reconnects",
            (
                _step(
                    "ten consumers lose their connection twice a second and resume",
                    causes.reconnecting(10, pause_s=0.5),
                    "RiptideReconnectStorm",
                ),
            ),
        ),
        Scenario(
            "errors",
            (
                _step(
                    "7.5 % of WebSocket clients send a binary frame",
                    causes.failing_visitors(0.075),
                    "RiptideErrorRateWarning",
                ),
                _step(
                    "30 % of WebSocket clients send a binary frame",
                    causes.failing_visitors(0.3),
                    "RiptideErrorRateCritical",
                ),
            ),
        ),
    )


def _messages() -> tuple[Scenario, ...]:
    return (
        Scenario(
            "backpressure",
            (
                _step(
                    "one of ten consumers reads half of what is published",
                    causes.slow_readers(1, 9, read_share=0.5),
                    "RiptideBackpressure",
                ),
            ),
            _SMALL_RING,
        ),
        Scenario(
            "drops",
            (
                _step(
                    "three of ten consumers read half of what is published",
                    causes.slow_readers(3, 7, read_share=0.5),
                    "RiptideMessageDropRateWarning",
                ),
                _step(
                    "three of four consumers read half of what is published",
                    causes.slow_readers(3, 1, read_share=0.5),
                    "RiptideMessageDropRateCritical",
                ),
            ),
            _SMALL_RING,
        ),
        Scenario(
            "slow-consumers",
            (
                _step(
                    "five consumers stop to read, are cut off and come back",
                    causes.stalled_readers(5),
                    "RiptideSlowConsumerDisconnects",
                ),
            ),
            {"ring_messages": 32, "write_timeout_seconds": 0.5},
        ),
        Scenario(
            "resuming-readers",
            (
                _step(
                    "30 consumers read a fifth of what is published, are cut off and resume",
                    causes.resuming_slow_readers(30, read_share=0.2, alerts=_LAG_ALERTS),
                    *_LAG_ALERTS,
                ),
            ),
            {"ring_messages": 32, "max_lag_seconds": 5, "retention_messages": 100_000},
        ),
        Scenario(
            "throughput",
            (
                _step(
                    "the consumer listens to another topic than is published to",
                    causes.listen_to_the_wrong_topic,
                    "RiptideThroughputLow",
                ),
            ),
        ),
        Scenario(
            "memory",
            (
                _step(
                    "600 MB stand in the ring of a topic",
                    causes.unread_megabytes(600),
                    "RiptideMemoryUsageWarning",
                ),
                _step(
                    "1.1 GB stand in the ring of a topic",
                    causes.unread_megabytes(1120),
                    "RiptideMemoryUsageCritical",
                ),
            ),
            {
                "retention_messages": 4,
                "ring_bytes": 2 * _GIBIBYTE,
                "max_message_bytes": 2 * _KIBIBYTE * _KIBIBYTE,
                "write_timeout_seconds": _NO_WRITE_TIMEOUT,
            },
        ),
    )


def _process() -> tuple[Scenario, ...]:
    return (
        Scenario(
            "lag",
            (
                _step(
                    "the host takes the processor away for 1.5 seconds (SIGSTOP)",
                    causes.freeze,
                    "RiptideEventLoopLag",
                ),
            ),
        ),
        Scenario(
            "restarts",
            (
                _step(
                    "the process is killed each time it has started (SIGKILL)",
                    causes.crash_again_and_again,
                    "RiptideRestartLoop",
                ),
            ),
        ),
        Scenario(
            "down",
            (_step("the process has ended", causes.stop_the_process, "RiptideTargetDown"),),
        ),
        Scenario(
            "absent",
            (
                _step(
                    "service discovery has lost the target",
                    causes.forget_the_target,
                    "RiptideAbsent",
                ),
            ),
        ),
        Scenario(
            BLIND_JOB,
            (
                _step(
                    "the scrape configuration drops the buckets of the latency",
                    causes.drop_series_while_scraping,
                    "RiptideIndicatorAbsent",
                ),
            ),
        ),
        Scenario(
            "unaccounted",
            (
                _step(
                    "a fault put into the process: no client can make a right one lose count",
                    causes.lose_count,
                    "RiptideMessagesUnaccounted",
                ),
            ),
            command=_FAULTY_SERVICE,
        ),
        Scenario(
            "fault",
            (
                _step(
                    "a callback of the process raises, so that it drains, ends and is restarted",
                    causes.raise_once,
                    "RiptideFault",
                ),
            ),
            # The process may end before it is scraped. What it leaves in its directory is not lost.
            {"log": "sqlite", "data_dir": "data"},
            command=_FAULTY_SERVICE,
        ),
    )


def _access() -> tuple[Scenario, ...]:
    port = free_port()
    issuer = causes.WebServer(port, public_keys())
    issuer.start()
    return (
        Scenario(
            "rejections",
            (
                _step(
                    "both places are taken, and others ask for streams ten times a second",
                    causes.asking_in_vain(2, per_second=10),
                    "RiptideConnectionsRejected",
                ),
            ),
            {"max_connections": 2},
        ),
        Scenario(
            "tokens",
            (
                _step(
                    "a publisher sends tokens that are signed with another secret",
                    causes.publishing_with(foreign_token(), per_second=10),
                    "RiptideTokensRefused",
                ),
            ),
            {"token_secret_file": KEY_FILE},
            prepare=write_secret,
        ),
        Scenario(
            "keys",
            (
                _step(
                    "the issuer of tokens no longer answers",
                    issuer.disappear,
                    "RiptideKeysNotRead",
                ),
            ),
            {"jwks_url": f"http://127.0.0.1:{port}/", "keys_refresh_seconds": 0.5},
        ),
    )


def _certificates() -> tuple[Scenario, ...]:
    # At every pace of the drill, the warning begins before this much is left, and the critical
    # alert after it.
    soon, very_soon = dt.timedelta(hours=5, minutes=12), dt.timedelta(minutes=30)
    return (
        Scenario(
            "certificate",
            (
                _step(
                    "the certificate is not renewed, and has 5.2 hours left",
                    causes.certificate_left_to_expire(soon),
                    "RiptideCertificateExpiryWarning",
                ),
                _step(
                    "the certificate is not renewed, and has half an hour left",
                    causes.certificate_left_to_expire(very_soon),
                    "RiptideCertificateExpiryCritical",
                ),
            ),
            _CERTIFICATE_FILES,
            prepare=causes.renew_certificate,
        ),
        Scenario(
            "renewal",
            (
                _step(
                    "the certificate is renewed, but not its key",
                    causes.renew_half,
                    "RiptideCertificateRefused",
                ),
            ),
            _CERTIFICATE_FILES,
            prepare=causes.renew_certificate,
        ),
    )


def damage() -> Scenario:
    """Return the scenario in which the disk alters the database, and then the write-ahead log."""
    return Scenario(
        "damage",
        (
            _step(
                "a bit of a message is flipped in the database, and consumers read it",
                damaged_log.flip_a_message,
                "RiptideLogDamaged",
            ),
            _step(
                "a bit is flipped in the write-ahead log of a process that was killed",
                damaged_log.flip_the_write_ahead_log,
                "RiptideLogLostMessages",
            ),
        ),
        {"log": "sqlite", "data_dir": damaged_log.DATA_DIRECTORY},
    )


def full_disk() -> Scenario:
    """Return the scenario in which publishers fill the disk of the log; only root can play it."""
    return Scenario(
        "disk",
        (
            _step(
                "publishers fill the disk of the log; at the end it becomes larger",
                fill_the_disk,
                "RiptidePublishesFailing",
            ),
        ),
        {"log": "sqlite", "data_dir": DATA_DIRECTORY, "retention_messages": 1_000_000},
    )


def hanging_disk() -> Scenario:
    """Return the scenario in which the log's disk hangs; it needs a C compiler."""
    return Scenario(
        "hang",
        (
            _step(
                "the disk of the log hangs: no write to it comes to its end",
                hang_the_disk,
                "RiptideLogStalled",
            ),
        ),
        {"log": "sqlite", "data_dir": DATA_DIRECTORY},
    )


def _held_log() -> Scenario:
    return Scenario(
        "checkpoints",
        (
            _step(
                "another program reads the log in a transaction that does not end",
                causes.reading_the_log(DATA_DIRECTORY),
                "RiptideCheckpointOverdue",
            ),
        ),
        {"log": "sqlite", "data_dir": DATA_DIRECTORY},
    )


def _stopped_log() -> Scenario:
    return Scenario(
        "log_process",
        (
            _step(
                "the process of the log of two workers is stopped, and those that replace it",
                causes.stop_the_log,
                "RiptideLogDisconnected",
            ),
        ),
        {"workers": 2},
    )


def clusters() -> tuple[Scenario, ...]:
    """Return the scenarios of instances whose log is in NATS; they need a nats-server."""
    lost, forbidding, contested, distant = (NatsServer() for _ in range(4))
    long_way, another_long_way = Network(contested.port), Network(distant.port)
    return (
        Scenario(
            "nats",
            (
                _step(
                    "the server of NATS is killed",
                    shared_log.lose_the_server(lost),
                    "RiptideLogDisconnected",
                ),
                _step(
                    "an older copy of the stream is put back",
                    shared_log.put_an_older_store_back(lost),
                    "RiptideLogReset",
                ),
            ),
            lost.settings,
            beside=(lost,),
        ),
        Scenario(
            "feed",
            (
                _step(
                    "Riptide's user of NATS may not read the stream any more",
                    shared_log.forbid_reading(forbidding),
                    "RiptideFeedLag",
                ),
            ),
            forbidding.settings,
            beside=(forbidding,),
        ),
        Scenario(
            "conflicts",
            (
                _step(
                    "two instances that are nearer to the server write to the same topic",
                    shared_log.be_left_behind(contested, long_way),
                    "RiptideWriteConflicts",
                ),
            ),
            contested.settings_at(long_way.port),
            beside=(contested, long_way),
        ),
        Scenario(
            "distance",
            (
                _step(
                    "each way to the server of NATS takes 100 ms",
                    shared_log.move_far_away(another_long_way),
                    "RiptideClockUncertain",
                ),
            ),
            distant.settings_at(another_long_way.port),
            beside=(distant, another_long_way),
        ),
    )


def wrong_clock() -> Scenario:
    """Return the scenario in which a clock is wrong; it needs a nats-server and a C compiler."""
    server = NatsServer()
    return Scenario(
        "clock",
        (
            _step(
                "the clock of the instance is 5 seconds fast",
                shared_log.set_the_clock_wrong,
                "RiptideClockOffset",
            ),
        ),
        server.settings,
        beside=(server,),
    )


def exports() -> Scenario:
    """Start a Collector, and return the scenario in which it disappears."""
    port = free_port()
    collector = causes.WebServer(port)
    collector.start()
    return Scenario(
        "exports",
        (
            _step(
                "the collector that metrics are exported to has gone",
                collector.disappear,
                "RiptideExportsFailing",
                "RiptideExportSilence",
            ),
        ),
        {
            "OTEL_METRICS_EXPORTER": "prometheus,otlp",
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
            "OTEL_EXPORTER_OTLP_TIMEOUT": "1000",
            "OTEL_METRIC_EXPORT_INTERVAL": "500",
            "OTEL_METRIC_EXPORT_TIMEOUT": "1000",
        },
    )
