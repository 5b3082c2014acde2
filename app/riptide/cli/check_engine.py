"""``riptide check-engine``: says what servers of NATS give to a service, and what is risky."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from riptide.cli.engine import engine_options, log_records_told
from riptide.cli.event_loop import run
from riptide.cli.parameters import TEXT
from riptide.cli.terminal import write_stdout

if TYPE_CHECKING:
    from collections.abc import Sequence

    from riptide.settings.settings import Settings
    from riptide.storage.jetstream.judgement import Report

WRONG = 1
EXAMPLES = """\b
Examples:
  RIPTIDE_JETSTREAM_URLS=nats://n1:4222,nats://n2:4222,nats://n3:4222 riptide check-engine
  riptide check-engine --strict --monitor-url http://n1:8222 --monitor-url http://n2:8222
  riptide check-engine --json | jq '.findings[] | select(.level != "ok")'
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--monitor-url",
    "monitor_urls",
    type=TEXT,
    multiple=True,
    metavar="URL",
    help="Monitoring of a server (http://host:8222), which tells its sync_interval and its room. "
    "Give one for each server.",
)
@click.option("--strict", is_flag=True, help="End with 1 also if something is risky.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for programs.")
def check_engine(monitor_urls: tuple[str, ...], *, strict: bool, as_json: bool) -> int:
    """Say what the servers of RIPTIDE_JETSTREAM_URLS give to the service, and what is risky.

    Connects by the same settings as riptide serve, and changes nothing. Each finding is a line:
    ok, risk (it works, and something may be lost or refused that need not be) or wrong (instances
    do not start, or cannot do what the settings say), with what to do. The last line says what an
    answer of 202 is worth. Nothing but --monitor-url tells whether the servers write to their disks
    before they acknowledge, unless the account may ask the system ($SYS).

    Exit codes: 0 nothing is wrong, 1 something is, or no server can be reached; with --strict, 1
    also if something is risky; 2 wrong usage.
    """
    from riptide.settings.settings import load_settings  # noqa: PLC0415  # loads pydantic

    report = _examine(load_settings(), monitor_urls)
    levels = [finding.level.value for finding in report.findings]
    is_wrong = "wrong" in levels or (strict and "risk" in levels)
    write_stdout(_in_json(report) if as_json else _in_words(report))
    return WRONG if is_wrong else 0


def _examine(settings: Settings, monitor_urls: Sequence[str]) -> Report:
    options = engine_options(settings)
    from riptide.errors import StartError  # noqa: PLC0415  # loads OpenTelemetry
    from riptide.storage.jetstream.examination import examine  # noqa: PLC0415  # an extra
    from riptide.storage.jetstream.findings import Wishes  # noqa: PLC0415  # as above
    from riptide.storage.jetstream.judgement import judge, unreachable  # noqa: PLC0415  # as above
    from riptide.storage.message_log import retention_of  # noqa: PLC0415  # --help connects to nobody

    wishes = Wishes(options, retention_of(settings), settings.max_message_bytes)
    try:
        # What the connection has to say, such as what is not allowed, is among the findings.
        with log_records_told(lambda _: None):
            facts = run(examine(options, monitor_urls))
    except StartError as error:
        return unreachable(str(error))
    return judge(facts, wishes)


def _in_words(report: Report) -> bytes:
    lines = [
        f"{finding.level.value:<5} {finding.about}: {' '.join(finding.text.split())}"
        for finding in report.findings
    ]
    if report.worth:
        lines.append(f"worth 202: {report.worth} (docs/cluster.md)")
    return "".join(f"{line}\n" for line in lines).encode()


def _in_json(report: Report) -> bytes:
    findings = [
        {"level": finding.level.value, "about": finding.about, "text": finding.text}
        for finding in report.findings
    ]
    return f"{json.dumps({'findings': findings, 'worth': report.worth})}\n".encode()
