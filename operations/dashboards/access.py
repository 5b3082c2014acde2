"""Who is refused, and whether the keys and the certificate that let clients in are fresh."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from operations import thresholds
from operations.dashboards.board import board, protocol
from operations.dashboards.panels import Limits, Query, graph
from operations.dashboards.queries import INSTANCE, rate, ratio, total, whole
from riptide_telemetry import catalog

if TYPE_CHECKING:
    from operations.dashboards.board import Panel

HORIZON_S: Final = 30 * 24 * 3600
"""The longest time shown: what expires later, or never because there is no TLS, is no concern."""


def generate() -> dict[str, str]:
    """Return the dashboard."""
    return board(
        "access",
        "Riptide Access",
        "Who is refused and why, and whether keys and certificate are fresh.",
        {"Refusals": _refusals(), "Keys and certificate": _freshness()},
        variables=[protocol()],
    )


def _refusals() -> list[Panel]:
    rejected = rate(catalog.CONNECTIONS_REJECTED, 'reason!="draining"')
    refused = rate(catalog.TOKEN_CHECKS, 'outcome!="accepted"')
    return [
        graph(
            "Rejected Connections",
            "Share of the streams asked for that were refused before they began; those that a "
            "draining server refuses are left out.",
            "percentunit",
            Query(ratio(rejected, rate(catalog.CONNECTIONS_OPENED)), "rejected"),
            limits=Limits(warning=thresholds.REJECTED_CONNECTIONS),
            maximum=1,
        ),
        graph(
            "Rejected Connections by Reason",
            "Streams refused before they began, per minute.",
            "short",
            Query(f"60 * {rate(catalog.CONNECTIONS_REJECTED, by='reason')}", "{{reason}}"),
            stacked=True,
        ),
        graph(
            "Refused Tokens",
            "Share of the tokens checked that were not accepted.",
            "percentunit",
            Query(ratio(refused, rate(catalog.TOKEN_CHECKS, 'outcome="accepted"')), "refused"),
            limits=Limits(warning=thresholds.REFUSED_TOKENS),
            maximum=1,
        ),
        graph(
            "Checks of Tokens by Outcome",
            "Tokens of publishers, consumers and listers that were checked, per minute.",
            "short",
            Query(f"60 * {rate(catalog.TOKEN_CHECKS, by='outcome')}", "{{outcome}}"),
            stacked=True,
        ),
    ]


def _freshness() -> list[Panel]:
    expiry = whole(catalog.CERTIFICATE_EXPIRY)
    left = f"({expiry} > 0) - time() or ({expiry} == 0) + {HORIZON_S}"
    return [
        graph(
            "Readings of Keys",
            "Readings of the sources of keys per minute. A source that fails is read again after a "
            "minute.",
            "short",
            Query(
                f"60 * {rate(catalog.KEY_READINGS, by=f'{INSTANCE}, outcome')}",
                "{{instance}} {{outcome}}",
            ),
        ),
        graph(
            "Age of Keys",
            "Time since a source of keys could be read: of the source that this is longest ago.",
            "s",
            Query(total(whole(catalog.KEYS_AGE), INSTANCE), "{{instance}}"),
        ),
        graph(
            "Certificate Expires In",
            "Time until the certificate that is served expires; 30 days stand for 30 days or "
            "longer, and for a service without TLS.",
            "s",
            Query(f"clamp_max(clamp_min({left}, 0), {HORIZON_S})", "{{instance}}"),
            limits=Limits(low=thresholds.CERTIFICATE_EXPIRY_WARNING),
        ),
        graph(
            "Renewed Certificate Refused",
            "1 while the renewed certificate cannot be served and the one before it still is.",
            "short",
            Query(total(whole(catalog.CERTIFICATE_REFUSED), INSTANCE), "{{instance}}"),
            limits=Limits(warning=1),
            maximum=1,
        ),
    ]
