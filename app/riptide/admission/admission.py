"""Admits streams and publishes within limits, so that no client takes the others' share."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from riptide.admission.bucket_times import SharedTimes
from riptide.admission.places import Places, SharedPlaces
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
    from riptide.admission.share import Share

RETRY_AFTER_S = 5
# The key of the one bucket that all new streams share; each address has a bucket besides.
ALL = "all"


class Limits(NamedTuple):
    """What clients may take; rates are per second, and allow ``BURST_S`` seconds' worth at once."""

    connections_per_address: int = 1000
    connections_per_identity: int = 1000
    accept_rate: float = 2000.0
    accept_rate_per_address: float = 200.0
    publish_rate: float = 10_000.0


class Admission:
    """Enforces the limits of each client, and the rate at which the service opens streams.

    With a ``share``, the limits are those of all workers together.
    """

    def __init__(self, limits: Limits, share: Share | None = None) -> None:
        def places(limit: int, kind: str) -> Places:
            return Places(limit) if share is None else SharedPlaces(limit, kind, share)

        def rate(per_second: float, kind: str) -> RateLimit:
            times = None if share is None else SharedTimes(kind, share)
            return RateLimit(per_second, times=times)

        self.share = share
        self._limits = limits
        self._addresses = places(limits.connections_per_address, "address ")
        self._identities = places(limits.connections_per_identity, "identity ")
        self._accepting = rate(limits.accept_rate, "accept ")
        self._accepting_address = rate(limits.accept_rate_per_address, "accept address ")
        self._publishing = rate(limits.publish_rate, "publish ")

    def enter(self, client: Client) -> None:
        """Take a place for a client's stream; ``leave`` gives the place back.

        Raises:
            ProblemError: a limit is reached, and nothing was taken.

        """
        # The client's own limits come first: a client over them is told so, however busy the
        # service is.
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
            # Longer than one stream's wait, because other clients were refused and will return.
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
        """Give back the place that ``enter`` took."""
        self._identities.give_back(client.identity)
        self._addresses.give_back(client.address)

    def begin_publish(self, client: Client) -> None:
        """Charge the client for one message, before its request is read.

        Raises:
            PublishRateError: the client has used up its rate; nothing was charged.

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

    def charge_publish(self, client: Client, message_count: int) -> None:
        """Charge the client for the messages of a request beyond the first."""
        publisher = _publisher(client)
        if publisher and message_count > 1:
            self._publishing.take(publisher, message_count - 1)


def _publisher(client: Client) -> str:
    # The identity, if there is one: many may share an address, and one may use many addresses.
    return f"identity {client.identity}" if client.identity else client.address
