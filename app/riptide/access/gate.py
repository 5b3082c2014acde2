"""The gate before the topics: who may publish and subscribe, and that refusals are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.access.credentials import credentials_of
from riptide.access.grants import Action
from riptide.access.identity import ANYONE, Identity
from riptide.errors import (
    ForbiddenError,
    OriginError,
    ProblemError,
    UnauthenticatedError,
    UnknownHostError,
)
from riptide.streaming.streams import REJECTIONS
from riptide_telemetry import PublishOutcome

if TYPE_CHECKING:
    from starlette.types import Scope

    from riptide.access.credentials import Credentials
    from riptide.access.hosts import Hosts
    from riptide.access.origins import Origins
    from riptide.access.tokens import TokenVerifier
    from riptide_telemetry import Lifecycle, Protocol

PUBLISH_OUTCOMES: dict[type[ProblemError], PublishOutcome] = {
    ForbiddenError: PublishOutcome.FORBIDDEN,
    OriginError: PublishOutcome.FORBIDDEN,
    UnknownHostError: PublishOutcome.FORBIDDEN,
}


class Gate:
    """Lets those through who may; without a verifier, everybody but foreign pages and names.

    ``cookie`` names the cookie that may hold a token.
    """

    def __init__(  # noqa: PLR0913  # what it is put together of
        self,
        verifier: TokenVerifier | None,
        hosts: Hosts,
        origins: Origins,
        lifecycle: Lifecycle,
        *,
        cookie: str,
        in_query: bool,
    ) -> None:
        self._verifier = verifier
        self._hosts = hosts
        self._origins = origins
        self._lifecycle = lifecycle
        self.cookie = cookie
        self._in_query = in_query

    async def open(self) -> None:
        """Get hold of the keys.

        Raises:
            KeyFileError: a file has none.

        """
        if self._verifier is not None:
            await self._verifier.keyring.open()

    async def run(self) -> None:
        """Look after the keys until cancelled."""
        if self._verifier is not None:
            await self._verifier.keyring.run()

    async def admit_consumer(self, scope: Scope, protocol: Protocol, topic: str) -> Identity:
        """Return who wants to read the topic.

        Raises:
            ProblemError: they may not; it has been counted.

        """
        try:
            return await self._admit(
                scope, Action.SUBSCRIBE, topic, from_pages=scope["type"] == "websocket"
            )
        except ProblemError as problem:
            self._lifecycle.connection_rejected(protocol, REJECTIONS[type(problem)])
            raise

    async def admit_publisher(self, scope: Scope, topic: str) -> Identity:
        """Return who wants to publish to the topic.

        Raises:
            ProblemError: they may not; it has been counted, as one message: none was read.

        """
        try:
            return await self._admit(scope, Action.PUBLISH, topic, from_pages=False)
        except ProblemError as problem:
            outcome = PUBLISH_OUTCOMES.get(type(problem), PublishOutcome.UNAUTHENTICATED)
            self._lifecycle.messages_published(outcome, 1)
            raise

    async def admit_lister(self, scope: Scope) -> Identity:
        """Return who wants to know which topics there are: they may know those they may read.

        Raises:
            ProblemError: they may read none; requests that are no streams are counted by status.

        """
        self._hosts.check(scope)
        identity = await self._identify(self._credentials_of(scope))
        if not identity.grants.subscribe:
            raise ForbiddenError(f"the token does not allow to {Action.SUBSCRIBE} to any topic")
        return identity

    async def _admit(
        self, scope: Scope, action: Action, topic: str, *, from_pages: bool
    ) -> Identity:
        """Check the host, the origin, the token, and what it grants.

        WebSockets (``from_pages``) are open to every page. Of other requests, browsers keep the
        answer from foreign pages, but a cookie goes with them.
        """
        self._hosts.check(scope)
        credentials = self._credentials_of(scope)
        by_cookie = credentials is not None and credentials.by_cookie
        if from_pages or (by_cookie and action is Action.PUBLISH):
            self._origins.check(scope, by_cookie=by_cookie)
        identity = await self._identify(credentials)
        if not identity.grants.allow(action, topic):
            raise ForbiddenError(f"the token does not allow to {action} to {topic[:160]!r}")
        return identity

    def _credentials_of(self, scope: Scope) -> Credentials | None:
        return None if self._verifier is None else credentials_of(scope, self.cookie)

    async def _identify(self, credentials: Credentials | None) -> Identity:
        if self._verifier is None:
            return ANYONE
        if credentials is None:
            raise UnauthenticatedError(
                "a token is needed: send it as Authorization: Bearer TOKEN, "
                f"or in the cookie {self.cookie}"
            )
        if credentials.by_query and not self._in_query:
            raise UnauthenticatedError(
                "a token in the query is not accepted here: send it as Authorization: Bearer TOKEN",
                error="invalid_request",
            )
        return await self._verifier.verify(credentials.token)
