"""The HTTP client under the exporters, taught that the OTEL_* variables are the ones that count."""

from __future__ import annotations

from typing import Any

import requests


class ExportSession(requests.Session):
    """A session whose own certificate goes before one that is in the environment for all programs.

    Otherwise ``REQUESTS_CA_BUNDLE`` would win over ``OTEL_EXPORTER_OTLP_CERTIFICATE``. Proxies stay
    those of the environment.
    """

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return what a request is sent with."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)
