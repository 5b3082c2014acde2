"""The sources of keys: a secret in a file, a JWK set in a file, a JWK set behind a URL."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from riptide.access.keys import Key, parse_jwk_set, secret_key
from riptide.process.http_environment import client_options, without_credentials

if TYPE_CHECKING:
    from pathlib import Path

MAX_BYTES = 1024 * 1024
FETCH_TIMEOUT_S = 5.0


class KeySource(Protocol):
    """A source of keys; a ``remote`` one may be unreachable for a while."""

    name: str
    remote: bool

    async def read(self) -> list[Key]:
        """Return the current keys, without blocking the event loop.

        Raises:
            OSError: the source cannot be read.
            ValueError: the source holds no keys that can be used.

        """


class SecretFile:
    """A file that holds a secret, the key of HS256."""

    remote = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    async def read(self) -> list[Key]:
        """Return the secret."""
        return [secret_key(await asyncio.to_thread(_read_file, self._path))]


class JwksFile:
    """A file that holds a JWK set, secrets allowed."""

    remote = False

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    async def read(self) -> list[Key]:
        """Return the keys of the set."""
        return parse_jwk_set(await asyncio.to_thread(_read_file, self._path), with_secrets=True)


class JwksUrl:
    """A URL that answers with a JWK set, as issuers of tokens publish it."""

    remote = True

    def __init__(self, url: str) -> None:
        self.name = without_credentials(url)
        self._url = url
        self._options: dict[str, Any] = {}

    async def read(self) -> list[Key]:
        """Fetch the set; a redirection is not followed."""
        if not self._options:
            # Loading the certificates takes too long for an event loop.
            try:
                self._options = await asyncio.to_thread(client_options, self._url)
            except ValueError as error:
                raise OSError(str(error)) from None
        import httpx2  # noqa: PLC0415  # as in client_options, which has imported it by now

        body = bytearray()
        try:
            async with (
                asyncio.timeout(FETCH_TIMEOUT_S),
                httpx2.AsyncClient(timeout=FETCH_TIMEOUT_S, **self._options) as client,
                client.stream("GET", self._url, headers={"Accept": "application/json"}) as answer,
            ):
                if not answer.is_success:
                    raise OSError(f"it answered {answer.status_code}")
                async for chunk in answer.aiter_bytes():
                    body += chunk
                    if len(body) > MAX_BYTES:
                        raise ValueError("it is larger than any JWK set")
        except TimeoutError:
            raise OSError("no answer in time") from None
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            raise OSError(str(error) or type(error).__name__) from None
        return parse_jwk_set(bytes(body), with_secrets=False)


def _read_file(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BYTES)
