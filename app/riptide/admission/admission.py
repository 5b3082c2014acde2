"""Who is let in and who has to wait: fair to all clients, whatever one of them does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from riptide.admission.places import Places
from riptide.admission.rate_limit import RateLimit
from riptide.errors import (
    AcceptRateError,
    AddressLimitError,
    AddressRateError,
    IdentityLimitError,
    PublishRateError,
)

if TYPE_CHECKING:
    from riptide.admission.client import Client

RETRY_AFTER_S = 5
# All streams there are share one bucket, beside one for each address.
ALL = "all"


class Limits(NamedTuple):
    """What clients may take; rates are by the second, and several seconds of them at once."""

    connections_per_address: int = 1000
    connections_per_identity: int = 1000
    accept_rate: float = 2000.0
    accept_rate_per_address: float = 200.0
    publish_rate: float = 10_000.0


class Admission:
    """Keeps to the limits for each client, and to how many streams are accepted in a second."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._addresses = Places(limits.connections_per_address)
        self._identities = Places(limits.connections_per_identity)
        self._accepting = RateLimit(limits.accept_rate)
        self._accepting_address = RateLimit(limits.accept_rate_per_address)
        self._publishing = RateLimit(limits.publish_rate)

    def enter(self, client: Client) -> None:
        """Give the client a place for a stream, to be given back by ``leave``.

        Raises:
            ProblemError: it gets none, and nothing has been taken.

        """
        # Those of one client first: what it is refused for costs the others nothing.
        if self._identities.full(client.identity):
            raise IdentityLimitError(
                f"this token's bearer has {self._identities.limit} streams open, and may have no "
                "more: close some, or raise RIPTIDE_MAX_CONNECTIONS_PER_IDENTITY",
                retry_after=RETRY_AFTER_S,
            )
        if self._addresses.full(client.address):
            raise AddressLimitError(
                f"this address has {self._addresses.limit} streams open, and may have no more: "
                "close some, or raise RIPTIDE_MAX_CONNECTIONS_PER_ADDRESS (if it is a proxy's, "
                "name it in RIPTIDE_TRUSTED_PROXIES)",
                retry_after=RETRY_AFTER_S,
            )
        wait_s = self._accepting_address.wait_s(client.address)
        if wait_s:
            raise AddressRateError(
                f"this address may open {self._limits.accept_rate_per_address:g} streams a "
                "second: open them more slowly, or raise RIPTIDE_ACCEPT_RATE_PER_ADDRESS",
                retry_after=math.ceil(wait_s),
            )
        wait_s = self._accepting.wait_s(ALL)
        if wait_s:
            # Longer than it would take for one, for others were refused too.
            raise AcceptRateError(
                f"the service opens {self._limits.accept_rate:g} streams a second: try again a "
                "little later, or raise RIPTIDE_ACCEPT_RATE",
                retry_after=max(RETRY_AFTER_S, math.ceil(wait_s)),
            )
        self._identities.take(client.identity)
        self._addresses.take(client.address)
        self._accepting.take(ALL)
        if client.address:
            self._accepting_address.take(client.address)

    def leave(self, client: Client) -> None:
        """Take the place back that ``enter`` gave."""
        self._identities.give_back(client.identity)
        self._addresses.give_back(client.address)

    def begin_publish(self, client: Client) -> None:
        """Let a client publish, which costs it one message at least.

        Raises:
            PublishRateError: it has published too much of late.

        """
        publisher = _publisher(client)
        wait_s = self._publishing.wait_s(publisher)
        if wait_s:
            raise PublishRateError(
                f"a client may publish {self._limits.publish_rate:g} messages a second; nothing "
                "was published: wait, or raise RIPTIDE_PUBLISH_RATE",
                retry_after=math.ceil(wait_s),
            )
        if publisher:
            self._publishing.take(publisher)

    def charge_publish(self, client: Client, messages: int) -> None:
        """Charge the client for the messages of a request beyond the first."""
        publisher = _publisher(client)
        if publisher and messages > 1:
            self._publishing.take(publisher, messages - 1)


def _publisher(client: Client) -> str:
    # Many may share an address, and one identity be at many.
    return f"identity {client.identity}" if client.identity else client.address
