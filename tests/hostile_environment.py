"""What a machine may have in its environment for HTTP clients, none of it meant for Riptide."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

# Nothing listens there, so whatever uses a proxy fails.
NOWHERE = "127.0.0.1:9"


def is_for_others(variable: str) -> bool:
    """Return whether a variable is for telemetry, or for HTTP clients, of any program."""
    return (
        variable.startswith(("OTEL_", "SSL_CERT_"))
        or variable.lower().endswith("_proxy")
        or variable in {"NETRC", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}
    )


def hostile_environment(directory: Path) -> dict[str, str]:
    """Return proxies that do not work, and a ``.netrc`` with entries for this machine."""
    netrc = directory / "netrc"
    netrc.write_text(
        "".join(
            f"machine {host} login stranger password s3cret\n"
            for host in ("127.0.0.1", "localhost")
        )
    )
    netrc.chmod(0o600)
    proxies = {
        "all_proxy": f"socks5://stranger:s3cret@{NOWHERE}",
        "http_proxy": f"http://stranger:s3cret@{NOWHERE}",
        "https_proxy": f"http://stranger:s3cret@{NOWHERE}",
        "grpc_proxy": f"http://stranger:s3cret@{NOWHERE}",
    }
    return {
        **proxies,
        **{name.upper(): value for name, value in proxies.items()},
        "NO_PROXY": "",
        "no_proxy": "",
        "NETRC": str(netrc),
        "SSL_CERT_FILE": str(directory / "no-certificates.pem"),
        "OTEL_PROPAGATORS": "b3",
    }
