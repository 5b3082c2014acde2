"""The HTTP client of the exporters, and what it takes from the environment."""

from __future__ import annotations

import os
from typing import Any

import requests
from requests.utils import get_environ_proxies

from riptide_telemetry.otlp.loopback import is_loopback


class ExportSession(requests.Session):
    """A session that takes proxies and authorities of TLS from the environment, and nothing else.

    A plain session also replaces the configured Authorization header by an entry of ``.netrc``, and
    ``OTEL_EXPORTER_OTLP_CERTIFICATE`` by ``REQUESTS_CA_BUNDLE``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return the settings with which a request is sent."""
        if not is_loopback(url):
            proxies = get_environ_proxies(url) | (proxies or {})
        if verify is None and self.verify is True:
            verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE")
        return super().merge_environment_settings(url, proxies, stream, verify, cert)
