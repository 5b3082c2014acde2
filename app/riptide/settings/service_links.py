"""Variables that Kubernetes sets in every container, for each Service of the same namespace.

For a Service called ``riptide``, they are called like settings of Riptide: ``RIPTIDE_PORT`` is
``tcp://10.43.0.1:8080``, and for one called ``riptide-metrics``, so is ``RIPTIDE_METRICS_PORT``.
Docker's links use the same names. Nobody means them as settings, so they are left out, and a
warning says so.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# These names may be settings; then the value tells.
_ADDRESS_NAME = re.compile(r"\w*_PORT")
_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://\S*")
# These names are no settings, whatever their value is.
_OTHER_NAMES = re.compile(
    r"\w*_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?"
    r"|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)


def is_service_link(variable: str, value: str) -> bool:
    """Return whether Kubernetes has set this variable for a Service."""
    if _ADDRESS_NAME.fullmatch(variable) and _ADDRESS.fullmatch(value):
        return True
    return _OTHER_NAMES.fullmatch(variable) is not None


def service_link_warnings(environment: Mapping[str, str], prefix: str) -> list[str]:
    """Return a sentence about the variables that are left out, if there are any."""
    links = sorted(
        variable
        for variable, value in environment.items()
        if variable.startswith(prefix) and is_service_link(variable, value)
    )
    if not links:
        return []
    # All that may be settings are named, or the first one, by which to find the others.
    named = [variable for variable in links if not _OTHER_NAMES.fullmatch(variable)] or links[:1]
    others = f" and {len(links) - len(named)} more" if len(links) > len(named) else ""
    sentence = (
        f"Kubernetes sets {', '.join(named)}{others} for its Services, so they are ignored: set "
        "enableServiceLinks: false in the pod's spec to be without them"
    )
    return [sentence]
