from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import httpx2
import pytest

from operations.drill.certificates import make_certificate
from riptide.process.http_environment import (
    UnusableEnvironmentError,
    client_options,
    proxy_of,
    without_credentials,
)
from tests.http_proxy import HttpProxy

if TYPE_CHECKING:
    from pathlib import Path

VARIABLES = (
    *("http_proxy", "https_proxy", "all_proxy", "no_proxy", "request_method"),
    *("ssl_cert_file", "ssl_cert_dir"),
)
UNUSABLE = ["socks5://u:s3cret@h:1", "socks4://h", "foo://u:s3cret@h", "http://", "http://h:port"]


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_without_a_proxy_a_url_is_reached_directly() -> None:
    assert proxy_of("https://issuer.example.com/keys") is None


@pytest.mark.parametrize("name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_is_the_one_of_the_scheme_or_of_all(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "proxy:3128")
    assert proxy_of("https://issuer.example.com/keys") == "http://proxy:3128"
    expected = "http://proxy:3128" if name.lower() == "all_proxy" else None
    assert proxy_of("http://issuer.example.com/keys") == expected


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://127.0.0.1", "https://127.9.9.9", "http://[::1]:8080"]
)
@pytest.mark.parametrize("proxy", ["http://proxy:3128", *UNUSABLE])
def test_this_machine_is_reached_directly_whatever_the_proxy(
    monkeypatch: pytest.MonkeyPatch, url: str, proxy: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert proxy_of(url) is None


@pytest.mark.parametrize(
    ("no_proxy", "url"),
    [
        ("*", "http://issuer.example.com"),
        ("issuer.example.com", "http://issuer.example.com"),
        (".example.com", "http://issuer.example.com"),
        ("other, 10.0.0.0/8", "http://10.1.2.3:1"),
        ("10.1.2.3", "http://10.1.2.3:1"),
        ("fd00::/8", "http://[fd00::1]:1"),
    ],
)
def test_a_host_in_no_proxy_is_reached_directly_whatever_the_proxy(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, url: str
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    for proxy in UNUSABLE:
        monkeypatch.setenv("ALL_PROXY", proxy)
        assert proxy_of(url) is None
    if no_proxy != "*":
        with pytest.raises(UnusableEnvironmentError):
            proxy_of("http://11.1.2.3:1")


@pytest.mark.parametrize("proxy", UNUSABLE)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_used_is_told_in_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, proxy: str, name: str
) -> None:
    monkeypatch.setenv(name, proxy)
    with pytest.raises(UnusableEnvironmentError) as raised:
        client_options("https://issuer.example.com")
    line = str(raised.value)
    assert line.startswith(f"{name} must be the URL of an HTTP proxy")
    assert "list issuer.example.com in NO_PROXY" in line
    assert "\n" not in line
    assert "s3cret" not in line


def test_a_request_goes_through_the_proxy_with_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with HttpProxy(b"keys") as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://u:s3cret@{proxy.address}")
        url = "http://issuer.invalid/keys"
        with httpx2.Client(**client_options(url)) as client:
            assert client.get(url).content == b"keys"
    assert proxy.asked == [url]
    assert proxy.authorizations == ["Basic dTpzM2NyZXQ="]


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_cannot_be_loaded_are_told_with_their_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("no certificate")
    if variable == "SSL_CERT_FILE":
        for value in (wrong, tmp_path / "none"):
            monkeypatch.setenv(variable, str(value))
            with pytest.raises(UnusableEnvironmentError, match=r"loaded \(.*check SSL_CERT_FILE$"):
                client_options("https://issuer.example.com")
    else:
        # OpenSSL looks into the directory only when it verifies a server.
        monkeypatch.setenv(variable, str(tmp_path / "none"))
        assert isinstance(client_options("https://issuer.example.com")["verify"], ssl.SSLContext)
    # Without TLS, no certificates are needed.
    assert client_options("http://issuer.example.com")["proxy"] is None


def test_certificates_of_the_environment_are_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    certificate, _ = make_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    context = client_options("https://issuer.example.com")["verify"]
    assert context.cert_store_stats()["x509"] == 1


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://u:s3cret@h:1/p?key=s3cret", "http://h:1/p"),
        ("http://h/p", "http://h/p"),
        ("http://u:s3cret@[", "["),
    ],
)
def test_a_url_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert without_credentials(url) == shown
