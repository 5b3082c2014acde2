"""The HTTP client of the exporters, with the certificates that the ``OTEL_*`` variables name."""

from __future__ import annotations

from typing import Any

import requests


class ExportSession(requests.Session):
    """A session whose own certificate takes precedence over ``REQUESTS_CA_BUNDLE``.

    In a plain session ``REQUESTS_CA_BUNDLE`` takes precedence over
    ``OTEL_EXPORTER_OTLP_CERTIFICATE``. Proxies still come from the environment.
    """

    def merge_environment_settings(
        self, url: Any, proxies: Any, stream: Any, verify: Any, cert: Any
    ) -> Any:
        """Return the settings with which a request is sent."""
        if verify is None and self.verify is not True:
            verify = self.verify
        return super().merge_environment_settings(url, proxies, stream, verify, cert)
