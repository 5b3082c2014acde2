from __future__ import annotations

import socket

import pytest

from riptide.errors import AddressError
from riptide.server.listener import address_of, address_to_reach, listen


def test_port_0_takes_any_that_is_free() -> None:
    with listen("127.0.0.1", 0) as first, listen("127.0.0.1", 0) as second:
        assert address_of(first) != address_of(second)
        assert address_of(first).startswith("http://127.0.0.1:")


@pytest.mark.skipif(not socket.has_ipv6, reason="this system has no IPv6")
def test_an_address_of_ipv6_stands_in_brackets() -> None:
    try:
        listener = listen("::1", 0)
    except AddressError:
        pytest.skip("this system has no IPv6 loopback")
    with listener:
        assert address_of(listener).startswith("http://[::1]:")


needs_ipv6 = pytest.mark.skipif(
    not socket.has_dualstack_ipv6(), reason="this system has no IPv6 beside IPv4"
)


@needs_ipv6
@pytest.mark.parametrize("host", ["::", "[::]", "0::0"])
@pytest.mark.parametrize("client", ["127.0.0.1", "::1"])
def test_every_address_is_that_of_ipv4_too(host: str, client: str) -> None:
    with listen(host, 0) as listener:
        assert address_of(listener).startswith("http://[::]:")
        socket.create_connection((client, listener.getsockname()[1])).close()


@needs_ipv6
def test_an_address_of_ipv6_may_have_brackets_and_is_not_that_of_ipv4() -> None:
    with listen("[::1]", 0) as listener:
        port = listener.getsockname()[1]
        socket.create_connection(("::1", port)).close()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


def test_an_address_in_use_is_named_with_what_to_do() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(AddressError, match=f"cannot listen on 127.0.0.1 port {port}") as error:
            listen("127.0.0.1", port)
    assert "RIPTIDE_PORT" in str(error.value)


@pytest.mark.parametrize("host", ["203.0.113.1", "a..b", "a" * 70])
def test_a_host_that_is_not_ours_or_not_one_is_an_address_error(host: str) -> None:
    with pytest.raises(AddressError, match="RIPTIDE_HOST"):
        listen(host, 0)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.2", "127.0.0.2"),
        ("0.0.0.0", "127.0.0.1"),
        ("0", "127.0.0.1"),
        ("::", "::1"),
        ("0:0::0", "::1"),
        ("::1", "::1"),
    ],
)
def test_a_program_on_this_machine_reaches_a_listener_on_any_address(
    host: str, address: str
) -> None:
    try:
        listener = listen(host, 0)
    except AddressError:
        pytest.skip("this system has no such address")
    with listener:
        port = listener.getsockname()[1]
        reached = address_to_reach(host, port)
        assert reached == (address, port)
        socket.create_connection(reached).close()
