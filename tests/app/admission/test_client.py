from __future__ import annotations

import pytest

from riptide.admission.client import MAX_ADDRESS_LENGTH, UNKNOWN, Client, client_of


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
        ("x" * 5000, "x" * MAX_ADDRESS_LENGTH),
    ],
)
def test_a_client_is_its_address_or_its_ipv6_subnet(host: str, address: str) -> None:
    assert client_of({"client": (host, 1234)}) == Client(address, "")


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_loopback_is_no_address_that_a_limit_could_be_kept_for(host: str) -> None:
    assert client_of({"client": (host, 1234)}) == UNKNOWN


@pytest.mark.parametrize("scope", [{}, {"client": None}])
def test_a_client_without_an_address_is_unknown(scope: dict[str, None]) -> None:
    assert client_of(scope) == UNKNOWN


def test_an_identity_is_kept_beside_the_address() -> None:
    assert client_of({"client": ("127.0.0.1", 1)}, "alice") == Client("", "alice")
