"""``riptide topics``: lists the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from riptide.cli.errors import CommandError
from riptide.cli.service import explain, open_client, token_option, unreachable, url_option
from riptide.cli.terminal import interruptible, write_stdout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx2

READ_TIMEOUT = 30.0
OK = 200

EXAMPLES = """\b
Examples:
  riptide topics
  riptide topics --output name | grep '^orders'
  riptide topics --output record | jq 'select(.consumers == 0)'
"""


@click.command(epilog=EXAMPLES)
@click.option(
    "--output",
    type=click.Choice(["table", "name", "record"]),
    default="table",
    show_default=True,
    help="table: name, messages kept, consumers connected to this process, newest id. name: names "
    "alone. record: one JSON object a topic.",
)
@token_option
@url_option
def topics(*, output: str, token: str | None, url: str) -> None:
    """Print the topics that have messages and that you may read, in the order of their names.

    No command creates or deletes a topic: a topic begins with its first message, and ends when
    its last message has expired.
    """
    with interruptible(), open_client(READ_TIMEOUT, token, url) as client:
        if output == "table":
            _print_table(list(_topics(client, url)))
            return
        write = _FORMATS[output]
        for topic in _topics(client, url):
            write_stdout(write(topic) + b"\n")


def _topics(client: httpx2.Client, url: str) -> Iterator[dict[str, Any]]:
    """Yield all topics, page after page."""
    after: str | None = ""
    while after is not None:
        page = _fetch(client, url, after)
        yield from page["topics"]
        after = page["next"]


def _fetch(client: httpx2.Client, url: str, after: str) -> dict[str, Any]:
    import httpx2  # noqa: PLC0415  # as in open_client

    try:
        answer = client.get(f"{url}/topics", params={"after": after})
    except httpx2.TransportError as error:
        raise CommandError(unreachable(url, error)) from None
    if answer.status_code != OK:
        raise CommandError(explain(answer))
    try:
        page = answer.json()
    except ValueError:
        page = None
    if not isinstance(page, dict) or not {"topics", "next"} <= page.keys():
        raise CommandError(explain(answer))
    return page


def _print_table(found: list[dict[str, Any]]) -> None:
    columns = ("topic", "messages", "consumers", "newest")
    rows = [columns, *(tuple(str(topic[column]) for column in columns) for topic in found)]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    name, messages, consumers, _ = widths
    for row in rows if found else []:
        line = f"{row[0]:{name}}  {row[1]:>{messages}}  {row[2]:>{consumers}}  {row[3]}"
        write_stdout(f"{line}\n".encode())


def _as_name(topic: dict[str, Any]) -> bytes:
    return str(topic["topic"]).encode()


def _as_record(topic: dict[str, Any]) -> bytes:
    import orjson  # noqa: PLC0415  # --help does not need it

    return orjson.dumps(topic)


_FORMATS: dict[str, Callable[[dict[str, Any]], bytes]] = {"name": _as_name, "record": _as_record}
