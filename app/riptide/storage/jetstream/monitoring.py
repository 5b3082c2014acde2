"""What servers of NATS tell of themselves to those who watch them: the document of /varz."""

from __future__ import annotations

import base64
import http.client
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from riptide.message import NANOSECONDS

if TYPE_CHECKING:
    from collections.abc import Mapping

PATIENCE_S = 5.0
# The document has some kilobytes.
MAX_BYTES = 4 * 1024 * 1024


class MonitorError(Exception):
    """A server does not tell of itself; the text says why, and has no secret of the URL."""


class ServerState(NamedTuple):
    """A server: whether it writes through before it acknowledges, and the room that it has.

    ``store_bytes`` is what streams may take on its disk, and ``used_bytes`` what they take.
    """

    name: str
    is_synced: bool
    sync_interval_s: float
    store_bytes: int
    used_bytes: int


def read_varz(varz: Mapping[str, Any]) -> ServerState:
    """Return what the document says.

    Raises:
        MonitorError: it is none of a server with JetStream.

    """
    try:
        name, jetstream = str(varz["server_name"]), varz["jetstream"]
        config, stats = jetstream["config"], jetstream["stats"]
        return ServerState(
            name,
            # Before 2.12, the field was left out.
            bool(config.get("sync_always", False)),
            config.get("sync_interval", 0) / NANOSECONDS,
            int(config["max_storage"]),
            int(stats["storage"]),
        )
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise MonitorError(
            "it does not tell of JetStream: the URL is not that of a server's monitoring (http: "
            "8222 in its configuration), or JetStream is not enabled on it"
        ) from error


def ask_monitor(url: str) -> ServerState:
    """Return what the server with this monitoring endpoint says. Blocks for some seconds at most.

    Raises:
        MonitorError: it does not answer as such a server does.

    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise MonitorError("the URL must be like http://host:8222")
    user, _, address = parts.netloc.rpartition("@")
    headers = {}
    if user:
        encoded = base64.b64encode(urllib.parse.unquote(user).encode()).decode()
        headers["Authorization"] = f"Basic {encoded}"
    path = f"{parts.path.rstrip('/').removesuffix('/varz')}/varz"
    request = urllib.request.Request(  # noqa: S310  # of HTTP, as was looked at above
        parts._replace(netloc=address, path=path, query="", fragment="").geturl(), headers=headers
    )
    # No proxy: the endpoint is of the servers' own network.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=PATIENCE_S) as answer:
            varz = orjson.loads(answer.read(MAX_BYTES))
    except (OSError, http.client.HTTPException, ValueError) as error:
        # Not its own words, which may quote the URL.
        reason = getattr(error, "reason", error)
        text = getattr(reason, "strerror", None) or type(reason).__name__
        raise MonitorError(f"no answer ({text})") from None
    if not isinstance(varz, dict):
        raise MonitorError("the answer is no object")
    return read_varz(varz)


def named(url: str) -> str:
    """Return the host and port of a URL, without a password that it may have."""
    return urllib.parse.urlsplit(url).netloc.rpartition("@")[2] or url.rpartition("@")[2]
