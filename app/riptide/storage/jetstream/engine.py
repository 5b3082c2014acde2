"""The connection to the servers of NATS: all that Riptide asks of them goes through here."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import re
import ssl
import time
from typing import TYPE_CHECKING, Any

import nats.errors
import nkeys
import orjson
from nats.aio.client import Client

from riptide.errors import StartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
    from pathlib import Path
    from urllib.parse import ParseResult

    from nats.aio.client import Server
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from riptide.storage.jetstream.options import JetStreamOptions

logger = logging.getLogger("riptide.log")

# A service that finds no server for so long at its start says so and ends.
START_PATIENCE_S = 30.0
REQUEST_TIMEOUT_S = 2.0
CANCEL_PATIENCE_S = 0.1
# A connection over which nothing comes is found to be dead after three or four of these: in less
# time than the servers need for an election.
PING_INTERVAL_S = 2
RECONNECT_WAIT_S = 0.25

END_OF_BATCH, NO_MESSAGES = "204", "404"
DENIED = "permissions violation"

_CREDENTIALS = re.compile(
    r"-BEGIN NATS USER JWT-+\s+\S+\s+-+END NATS USER JWT-.*"
    r"-BEGIN USER NKEY SEED-+\s+(\S+)\s+-+END USER NKEY SEED-",
    re.DOTALL,
)


class NoAnswerError(Exception):
    """The servers have not answered: nobody knows whether they did what they were asked."""


class RefusedError(Exception):
    """The servers have answered with an error; ``code`` is the number that NATS gives it."""

    def __init__(self, code: int, description: str) -> None:
        super().__init__(f"{description} (NATS error {code})")
        self.code = code
        self.description = description


class Engine:
    """A connection that is made anew whenever it is lost, for as long as it takes.

    ``reconnected`` is called after that, and whenever the client has had to drop messages. ``api``
    is what subjects of JetStream's API begin with.
    """

    def __init__(self, options: JetStreamOptions, reconnected: Callable[[], None]) -> None:
        self._options = options
        self._reconnected = reconnected
        self.api = f"$JS.{options.domain}.API" if options.domain else "$JS.API"
        self._client = Client()
        self._numbers = itertools.count(1)
        self._inbox = ""
        # Requests with several answers, and those that have come.
        self._collecting: dict[str, tuple[list[Msg], asyncio.Future[str]]] = {}
        # What went wrong at the start, each once: a server that refuses the credentials may also
        # close the connection before it has said so.
        self._start_errors: dict[str, None] = {}
        self._is_closing = False
        # The servers have not allowed something since this was last looked at.
        self._is_denied = False
        # The server of the connection, or of the last one: its address and port.
        self._server = ""
        self.reconnects = 0
        # Since when there has been no connection, on the monotonic clock.
        self.lost_at: float | None = time.monotonic()

    @property
    def max_payload(self) -> int:
        """The bytes that a message may have, headers included."""
        return self._client.max_payload

    @property
    def version(self) -> tuple[int, int]:
        """Major and minor version of the server."""
        version = self._client.connected_server_version
        return version.major, version.minor

    @property
    def server_name(self) -> str:
        """The name of the server that this is connected to."""
        return str(self._client._server_info.get("server_name", ""))  # noqa: SLF001  # the client has no other way

    def other_servers(self) -> list[str]:
        """Return host and port of servers of the cluster that the server has told of."""
        return [url.netloc.rpartition("@")[2] for url in self._client.discovered_servers]

    async def connect(self, patience_s: float | None = None) -> None:
        """Connect to one of the servers, within ``START_PATIENCE_S`` or another time.

        Raises:
            StartError: none could be reached, or they refuse the credentials.

        """
        connect_options = self._connect_options()
        if patience_s is None:
            patience_s = START_PATIENCE_S
        try:
            await self._connect(connect_options, patience_s)
        except TimeoutError:
            await self._abandon()
            raise StartError(
                f"no server of NATS could be reached at {self._options.named_urls()} for "
                f"{patience_s:.0f} s ({'; '.join(self._start_errors) or 'no answer'}): check "
                "RIPTIDE_JETSTREAM_URLS, the credentials, and that the servers run"
            ) from None
        except (nats.errors.Error, OSError, ValueError) as error:
            await self._abandon()
            raise StartError(
                f"the connection to NATS at {self._options.named_urls()} failed "
                f"({_text(error)}): check RIPTIDE_JETSTREAM_URLS and the credentials"
            ) from error
        self.lost_at = None
        self._note_server()
        self._inbox = self._client.new_inbox()
        await self._client.subscribe(f"{self._inbox}.*", cb=self._collect)

    async def close(self) -> None:
        """End the connection, once what was sent is on its way."""
        self._is_closing = True
        if self._inbox and not self._client.is_closed:
            with contextlib.suppress(nats.errors.Error, OSError, TimeoutError):
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    await self._client.flush()
            await self._client.close()

    async def change_server(self) -> None:
        """Connect to another server, if one is known: this one may be cut off from the others."""
        if self.lost_at is None and len(self._client.servers) > 1:
            logger.warning(
                "NATS at %s does not answer for the stream: trying another", self._server
            )
            await self._client.force_reconnect()

    async def subscribe(
        self, subject: str, callback: Callable[[Msg], Awaitable[None]]
    ) -> Subscription:
        """Have a function called with what is published to a subject from now on.

        Raises:
            NoAnswerError: there is no connection.

        """
        with _no_answer():
            return await self._client.subscribe(subject, cb=callback)

    async def flush(self) -> None:
        """Wait until the server has taken what was sent, subscriptions for example.

        Raises:
            NoAnswerError: it does not answer.

        """
        with _no_answer():
            # The client writes its ping at once, before what waits to be written (nats-py 2.16):
            # that is gone by the time of the second one.
            for _ in range(2):
                await self._client.flush(timeout=int(REQUEST_TIMEOUT_S))

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Hear no more of a subject."""
        with contextlib.suppress(nats.errors.Error, OSError):
            await subscription.unsubscribe()

    async def publish(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str],
        *,
        timeout_s: float = REQUEST_TIMEOUT_S,
    ) -> int:
        """Have the stream store a message; return its number in the stream.

        Raises:
            NoAnswerError: it may be stored or not.
            RefusedError: it is not stored.

        """
        answer = await self._request(subject, body, headers, timeout_s)
        return int(_answer(answer.data)["seq"])

    async def send(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        """Send a message to which there is no answer.

        Raises:
            NoAnswerError: there is no connection.

        """
        with _no_answer():
            await self._client.publish(subject, body, headers=headers)

    async def ask(self, action: str, question: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Ask the leader of the stream, or of all streams, and return the answer.

        Raises:
            NoAnswerError: there is no answer.
            RefusedError: the answer is an error.

        """
        body = orjson.dumps(question) if question is not None else b""
        answer = await self._request(f"{self.api}.{action}", body, None, REQUEST_TIMEOUT_S)
        return _answer(answer.data)

    async def ask_all(self, subject: str, wait_s: float) -> list[dict[str, Any]]:
        """Ask whoever listens to a subject, and return the answers that come within a time.

        Raises:
            NoAnswerError: there is no connection.

        """
        token = str(next(self._numbers))
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        messages: list[Msg] = []
        self._collecting[token] = messages, ended
        try:
            with _no_answer():
                await self._client.publish(subject, reply=f"{self._inbox}.{token}")
            # A status comes if nobody listens.
            await asyncio.wait([ended], timeout=wait_s)
        finally:
            del self._collecting[token]
        return [_answer(message.data) for message in messages]

    async def may_publish(self, subject: str, body: bytes, headers: dict[str, str]) -> bool:
        """Publish a message that changes nothing; return whether the servers have allowed it.

        Raises:
            NoAnswerError: there is no connection.

        """
        self._is_denied = False
        await self.send(subject, body, headers)
        await self.flush()
        return not self._is_denied

    async def may_subscribe(self, subject: str) -> bool:
        """Subscribe for a moment; return whether the servers have allowed it.

        Raises:
            NoAnswerError: there is no connection.

        """
        self._is_denied = False
        subscription = await self.subscribe(subject, self._collect)
        await self.flush()
        await self.unsubscribe(subscription)
        return not self._is_denied

    async def ask_for_messages(self, action: str, question: Mapping[str, Any]) -> list[Msg]:
        """Ask any server that has the stream for several of its messages.

        Raises:
            NoAnswerError: the messages have not all come in time.
            RefusedError: the answer is an error.

        """
        token = str(next(self._numbers))
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        messages: list[Msg] = []
        self._collecting[token] = messages, ended
        subject = f"{self.api}.{action}"
        try:
            with _no_answer():
                async with asyncio.timeout(REQUEST_TIMEOUT_S):
                    await self._client.publish(
                        subject, orjson.dumps(question), reply=f"{self._inbox}.{token}"
                    )
                    status = await ended
        finally:
            del self._collecting[token]
        if status.startswith("503"):
            raise NoAnswerError("no server answers for the stream")
        if not status.startswith((END_OF_BATCH, NO_MESSAGES)):
            raise RefusedError(int(status[:3]), status[4:])
        return messages

    async def _connect(self, connect_options: dict[str, Any], patience_s: float) -> None:
        connecting = asyncio.create_task(self._client.connect(**connect_options))
        try:
            await asyncio.wait([connecting], timeout=patience_s)
        finally:
            # The client waits by wait_for, which can lose a cancellation in Python 3.11.
            while not connecting.done():
                connecting.cancel()
                await asyncio.wait([connecting], timeout=CANCEL_PATIENCE_S)
        if connecting.cancelled():
            raise TimeoutError
        connecting.result()

    async def _abandon(self) -> None:
        """Leave nothing of a connection that was not made."""
        self._is_closing = True
        # The client says so if it had not even begun.
        with contextlib.suppress(nats.errors.Error, OSError, AssertionError):
            await self._client.close()

    async def _collect(self, message: Msg) -> None:
        messages, ended = self._collecting.get(message.subject.rpartition(".")[2], ([], None))
        if ended is None or ended.done():
            return
        status = (message.headers or {}).get("Status")
        if status is None:
            messages.append(message)
        else:
            ended.set_result(f"{status} {(message.headers or {}).get('Description', '')}")

    async def _request(
        self, subject: str, body: bytes, headers: dict[str, str] | None, timeout_s: float
    ) -> Msg:
        if self.lost_at is not None:
            raise NoAnswerError("there is no connection to NATS")
        with _no_answer():
            return await self._client.request(subject, body, timeout=timeout_s, headers=headers)

    def _connect_options(self) -> dict[str, Any]:
        options = self._options
        found: dict[str, Any] = {
            "servers": list(options.urls),
            "name": f"riptide {options.instance}",
            "error_cb": self._note_error,
            "disconnected_cb": self._note_loss,
            "reconnected_cb": self._note_return,
            "connect_timeout": 2,
            "reconnect_time_wait": RECONNECT_WAIT_S,
            "reconnect_to_server_handler": self._choose,
            "max_reconnect_attempts": -1,
            "ping_interval": PING_INTERVAL_S,
            "max_outstanding_pings": 2,
            # Whoever may read all inboxes of an account would read the answers of all.
            "inbox_prefix": f"_INBOX_{options.stream}",
        }
        if options.credentials_file is not None:
            _check_credentials(options.credentials_file)
            found["user_credentials"] = str(options.credentials_file)
        if options.nkey_file is not None:
            _check_seed(options.nkey_file, _secret(options.nkey_file))
            found["nkeys_seed"] = str(options.nkey_file)
        if options.token_file is not None:
            found["token"] = _secret(options.token_file)
        if options.user:
            found["user"] = options.user
        if options.password_file is not None:
            found["password"] = _secret(options.password_file)
        if options.tls_ca is not None or options.tls_certificate is not None:
            found["tls"] = _tls(options)
        return found

    def _choose(self, servers: list[Server], _: dict[str, Any]) -> tuple[Server | None, float]:
        """Return the server to try next, and after how long: one that failed least, and another."""
        chosen = min(servers, key=lambda each: (each.reconnects, _bare(each.uri) == self._server))
        return chosen, RECONNECT_WAIT_S if chosen.reconnects else 0.0

    def _note_server(self) -> None:
        url = self._client.connected_url
        self._server = _bare(url) if url is not None else ""

    async def _note_error(self, error: Exception) -> None:
        if isinstance(error, nats.errors.SlowConsumerError):
            logger.warning("messages from NATS came too fast, and some are read from the log")
            self._reconnected()
        elif self.lost_at is None:
            if DENIED in str(error).lower():
                self._is_denied = True
            logger.warning("the connection to NATS: %s", _text(error))
        elif not self._inbox:
            self._start_errors[_text(error)] = None

    async def _note_loss(self) -> None:
        if self.lost_at is None and not self._is_closing:
            self.lost_at = time.monotonic()
            logger.warning("the connection to NATS was lost: trying again")

    async def _note_return(self) -> None:
        self.lost_at = None
        self._note_server()
        self.reconnects += 1
        logger.info("connected to NATS again")
        self._reconnected()


@contextlib.asynccontextmanager
async def connected(
    options: JetStreamOptions, patience_s: float | None = None
) -> AsyncIterator[Engine]:
    """Be connected to the servers within this context, for what has no use of a lost connection.

    Raises:
        StartError: none could be reached within ``patience_s``, or they refuse the credentials.

    """
    engine = Engine(options, lambda: None)
    await engine.connect(patience_s)
    try:
        yield engine
    finally:
        await engine.close()


@contextlib.contextmanager
def _no_answer() -> Iterator[None]:
    """Turn the errors of the client, and of a time that is over, into a ``NoAnswerError``."""
    try:
        yield
    except (nats.errors.Error, OSError, TimeoutError) as error:
        raise NoAnswerError(_text(error)) from error


def _answer(body: bytes) -> dict[str, Any]:
    try:
        answer: dict[str, Any] = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise NoAnswerError("an answer is not JSON") from error
    if (found := answer.get("error")) is not None:
        raise RefusedError(found.get("err_code", found.get("code", 0)), found["description"])
    return answer


def _bare(url: ParseResult) -> str:
    """Return the address and the port, without the user and the password that may be there."""
    return url.netloc.rpartition("@")[2]


def _text(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _secret(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StartError(f"the file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise StartError(f"the file {path} cannot be read: it is not text in UTF-8") from error


def _check_credentials(path: Path) -> None:
    """Say what is wrong with a file before the client, which would not name it."""
    found = _CREDENTIALS.search(_secret(path))
    if found is None:
        raise StartError(
            f"the file {path} has no credentials of NATS: it needs a user's JWT and the seed of an "
            "nkey, as nsc writes them"
        )
    _check_seed(path, found[1])


def _check_seed(path: Path, seed: str) -> None:
    try:
        nkeys.from_seed(bytearray(seed.encode()))
    except (nkeys.NkeysError, ValueError):
        # Not a word of it: the error may quote the secret.
        raise StartError(f"the file {path} has no seed of an nkey") from None


def _tls(options: JetStreamOptions) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cafile=None if options.tls_ca is None else str(options.tls_ca)
        )
        if options.tls_certificate is not None:
            context.load_cert_chain(str(options.tls_certificate), options.tls_key)
    except OSError as error:
        files = (options.tls_ca, options.tls_certificate, options.tls_key)
        named = ", ".join(str(file) for file in files if file is not None)
        raise StartError(f"the files of TLS for NATS ({named}) cannot be used: {error}") from error
    return context
