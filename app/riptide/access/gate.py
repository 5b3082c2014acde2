"""The gate before the topics: decides who may publish, subscribe and list; counts refusals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from riptide.access.credentials import credentials_of
from riptide.access.grants import Action
from riptide.access.identity import ANYONE, Identity
from riptide.errors import (
    ForbiddenError,
    KeysUnavailableError,
    ProblemError,
    UnauthenticatedError,
)
from riptide.syntax.request_fields import refuse_ambiguous
from riptide_telemetry import TokenOutcome

if TYPE_CHECKING:
    from starlette.types import Scope

    from riptide.access.credentials import Credentials, TokenPlaces
    from riptide.access.hosts import Hosts
    from riptide.access.origins import Origins
    from riptide.access.tokens import TokenVerifier
    from riptide_telemetry import Lifecycle, StreamProtocol


class Gate:
    """Admits publishers, consumers and listers of topics, or refuses them and counts the refusal.

    Without a verifier the gate requires no tokens, and refuses only foreign web pages and unknown
    host names.
    """

    def __init__(
        self,
        verifier: TokenVerifier | None,
        token_places: TokenPlaces,
        hosts: Hosts,
        origins: Origins,
        lifecycle: Lifecycle,
    ) -> None:
        self._verifier = verifier
        self._token_places = token_places
        self._hosts = hosts
        self._origins = origins
        self._lifecycle = lifecycle

    async def open(self) -> None:
        """Read the keys with which tokens are verified.

        Raises:
            KeyFileError: a file cannot be read, or has no key.

        """
        if self._verifier is not None:
            await self._verifier.keyring.open()

    async def run(self) -> None:
        """Keep the keys up to date until cancelled."""
        if self._verifier is not None:
            await self._verifier.keyring.run()

    def keys_age_s(self) -> float:
        """Return for how long a source of keys has not been read; 0 if no tokens are required."""
        return 0.0 if self._verifier is None else self._verifier.keyring.age_s()

    def keys_missing(self) -> str | None:
        """Return that a source of keys has never been read, so that its tokens are refused."""
        return None if self._verifier is None else self._verifier.keyring.missing()

    async def admit_consumer(self, scope: Scope, protocol: StreamProtocol, topic: str) -> Identity:
        """Return the identity of a client that wants to read the topic.

        Raises:
            ProblemError: the client may not read it. The refusal has been counted.

        """
        try:
            return await self._admit(
                scope, Action.SUBSCRIBE, topic, from_pages=scope["type"] == "websocket"
            )
        except ProblemError as problem:
            self._lifecycle.connection_rejected(protocol, problem.reject_reason)
            raise

    async def admit_publisher(self, scope: Scope, topic: str) -> Identity:
        """Return the identity of a client that wants to publish to the topic.

        Raises:
            ProblemError: the client may not publish to it. The refusal has been counted as one
                message, because the body was not read.

        """
        try:
            return await self._admit(scope, Action.PUBLISH, topic, from_pages=False)
        except ProblemError as problem:
            self._lifecycle.messages_published(problem.publish_outcome, 1)
            raise

    async def admit_lister(self, scope: Scope) -> Identity:
        """Return the identity of a client that wants to list the topics that it may read.

        Raises:
            ProblemError: the client may read no topic. Only ``http.server.*`` counts the refusal,
                besides the check of the token.

        """
        refuse_ambiguous(scope)
        self._hosts.check(scope)
        identity = await self._identify(self._credentials_of(scope))
        if not identity.grants.subscribe:
            raise ForbiddenError(f"the token does not allow to {Action.SUBSCRIBE} to any topic")
        return identity

    async def _admit(
        self, scope: Scope, action: Action, topic: str, *, from_pages: bool
    ) -> Identity:
        """Check that the request has one meaning, the host, the origin, the token and its grants.

        Browsers let any page open a WebSocket (``from_pages``), so its origin is checked. They keep
        the answers to other requests from foreign pages, but send cookies with them: so the origin
        of a publish by cookie is checked too.
        """
        refuse_ambiguous(scope)
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
        if self._verifier is None:
            return None
        return credentials_of(scope, self._token_places.cookie)

    async def _identify(self, credentials: Credentials | None) -> Identity:
        if self._verifier is None:
            return ANYONE
        if credentials is None:
            raise UnauthenticatedError(
                "a token is needed: send it as Authorization: Bearer TOKEN, "
                f"or in the cookie {self._token_places.cookie}"
            )
        if credentials.by_query and not self._token_places.in_query:
            raise UnauthenticatedError(
                "a token in the query is not accepted here: send it as Authorization: Bearer TOKEN",
                error="invalid_request",
            )
        return await self._check(self._verifier, credentials.token)

    async def _check(self, verifier: TokenVerifier, token: str) -> Identity:
        try:
            identity = await verifier.verify(token)
        except (UnauthenticatedError, KeysUnavailableError) as refusal:
            if refusal.token_outcome is not None:
                self._lifecycle.token_checked(refusal.token_outcome)
            raise
        self._lifecycle.token_checked(TokenOutcome.ACCEPTED)
        return identity
