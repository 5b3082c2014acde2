"""What an acknowledgement is worth, as the table of docs/cluster.md has it."""

from __future__ import annotations

from typing import NamedTuple


class Worth(NamedTuple):
    """What was acknowledged survives the one, and not the other."""

    survives: str
    does_not_survive: str


# By replicas, and by whether servers write through before they acknowledge.
TABLE = {
    (1, False): Worth(
        "`kill -9` of the server",
        "loss of power: up to 2 minutes. Loss of the machine or its disk",
    ),
    (1, True): Worth("also loss of power", "loss of the machine or its disk"),
    (3, False): Worth(
        "loss of one machine; `kill -9` of any number of servers",
        "loss of power of two machines at once",
    ),
    (3, True): Worth("also loss of power of all", "loss of two disks"),
}


def explain(replicas: int, *, is_synced: bool | None) -> str:
    """Return in a sentence which row applies; ``is_synced`` is None if that cannot be seen."""
    # A majority of 4 replicas is 3, so they survive no more than 3 do.
    rows = 3 if replicas >= 3 else 1  # noqa: PLR2004  # the rows of the table
    worth = TABLE[rows, bool(is_synced)]
    sync = {None: "sync_interval not known, so as by default", True: "sync_interval always"}.get(
        is_synced, "sync_interval as by default"
    )
    survives = worth.survives
    if is_synced:
        survives = f"{TABLE[rows, False].survives}, {survives}"
    more = {
        1: "",
        3: "",
        5: " (5 replicas survive the loss of one machine more)",
    }.get(replicas, f" ({replicas} replicas survive no more than {rows})")
    return (
        f"{replicas} {'replica' if replicas == 1 else 'replicas'}, {sync}: what was answered with "
        f"202 survives {survives}; it does not survive {worth.does_not_survive}{more}"
    ).replace("`", "")
