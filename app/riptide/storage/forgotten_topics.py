"""Topics that the log forgets, because they have no messages, and what it can still say of them.

Clients can make up any number of names, so the log does not remember all of them for ever. When it
is opened, it forgets topics without messages, those with the oldest last message first, until as
many are left as topics may have messages. The next message of a forgotten topic has the sequence
number 1 again. No id is given twice by that, because the message is of a new life. While a life
lasts, no topic is forgotten, as consumers have been given its ids.

A consumer may come back with an id from before its topic was forgotten. Whether it has missed
messages is not known any more, so the log says that it does not know the id: the consumer is reset.
For that, the log keeps in which lives it forgot topics, and which topics are younger than that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3

# Topics that are forgotten in one transaction, so that it fits into the room of a full disk.
FORGOTTEN_AT_ONCE = 10_000

# Where a topic ended in a life, NULL if no later life has messages of it, so that its head tells;
# and whether it is younger than the life, or was forgotten since.
END_OF_LIFE = """
SELECT
    (SELECT min(first) - 1 FROM beginnings WHERE topic_id = topics.id AND life > :life),
    EXISTS (
        SELECT 1 FROM forgettings
        WHERE life > :life AND (topics.id IS NULL OR topics.id > newest_topic_id)
    )
FROM (SELECT :topic AS wanted) LEFT JOIN topics ON name = wanted
"""


def forget_topics(connection: sqlite3.Connection, life: int, kept: int) -> None:
    """Forget topics without messages at the beginning of a life, all but the ``kept`` newest.

    Raises:
        sqlite3.Error: not all could be forgotten; those that were are forgotten properly.

    """
    newest_topic_id = _newest_topic_id(connection)
    ids = _find_forgettable(connection, kept)
    for start in range(0, len(ids), FORGOTTEN_AT_ONCE):
        some = ids[start : start + FORGOTTEN_AT_ONCE]
        with connection:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute(
                "INSERT OR IGNORE INTO forgettings VALUES (?, ?)", (life, newest_topic_id)
            )
            connection.executemany("DELETE FROM topics WHERE id = ?", some)
            connection.executemany("DELETE FROM beginnings WHERE topic_id = ?", some)
            # Ids of lives that are not remembered are not known in any case.
            connection.execute(
                "DELETE FROM forgettings WHERE life <= (SELECT min(number) FROM lives)"
            )


def _find_forgettable(connection: sqlite3.Connection, kept: int) -> list[tuple[int]]:
    (known,) = connection.execute("SELECT count(*) FROM topics").fetchone()
    if known <= kept:
        return []
    empty = "FROM topics WHERE NOT EXISTS (SELECT 1 FROM places WHERE topic_id = topics.id)"
    (empty_count,) = connection.execute(f"SELECT count(*) {empty}").fetchone()
    return connection.execute(
        f"SELECT id {empty} ORDER BY "  # noqa: S608  # words of our own
        "(SELECT max(life) FROM beginnings WHERE topic_id = topics.id), id LIMIT ?",
        (max(0, empty_count - kept),),
    ).fetchall()


def create_topic(connection: sqlite3.Connection, name: str) -> int:
    """Make a topic, and return its id, which no forgotten topic has had."""
    topic_id = _newest_topic_id(connection) + 1
    connection.execute("INSERT INTO topics VALUES (?, ?, 0)", (topic_id, name))
    return topic_id


def _newest_topic_id(connection: sqlite3.Connection) -> int:
    row = connection.execute(
        "SELECT max(coalesce((SELECT max(id) FROM topics), 0), "
        "coalesce((SELECT max(newest_topic_id) FROM forgettings), 0))"
    ).fetchone()
    return int(row[0])
