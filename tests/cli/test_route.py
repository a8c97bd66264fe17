"""The way to a server, measured on loopback."""

import asyncio
import socket
import ssl

import pytest
from byte_server import (
    ByteServer,
    client_tls,
    closes,
    hangs,
    says,
    server_tls,
    tunnels,
)

from diga_async._cli import route
from diga_async._cli.route import Peer, UnreachableError, measure_route

MOVED_ON = b"HTTP/1.1 200 Connection established\r\n\r\n"


def then(*moves):
    """Do one move after the other on the same request."""

    async def move(wire):
        for step in moves:
            await step(wire)

    return move


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


async def failure_of(url, proxy=None, context=None):
    with pytest.raises(UnreachableError) as caught:
        await measure_route(url, proxy, context or client_tls())
    return caught.value.step, caught.value.reason


@pytest.mark.parametrize(
    ("url", "peer", "text"),
    [
        ("https://api.diga.io", Peer("api.diga.io", 443, tls=True), "api.diga.io:443"),
        ("http://127.0.0.1", Peer("127.0.0.1", 80, tls=False), "127.0.0.1:80"),
        ("http://me:pw@[::1]:3128", Peer("::1", 3128, tls=False), "[::1]:3128"),
    ],
)
def test_a_url_names_its_peer(url, peer, text):
    assert Peer.of(url) == peer
    assert str(peer) == text


async def test_without_tls_the_connection_alone_is_measured():
    async with ByteServer(hangs()) as server:
        measured = await measure_route(server.url, None, client_tls())
        assert server.heads == []  # nothing is sent
    assert measured.addresses == ("127.0.0.1",)
    assert measured.tls is None
    assert 0 <= measured.name_seconds < 5
    assert 0 < measured.connect_seconds < 5


async def test_the_version_of_tls_is_reported():
    async with ByteServer(hangs(), tls=server_tls()) as server:
        measured = await measure_route(server.url, None, client_tls())
    assert measured.tls == "TLSv1.3"


async def test_through_a_proxy_the_server_is_reached_with_tls():
    async with ByteServer(hangs(), tls=server_tls()) as server:
        tunnel = then(says(MOVED_ON), tunnels(server.port))
        async with ByteServer(tunnel) as proxy:
            address = proxy.url.replace("://", "://me:p%40ss@")
            measured = await measure_route(server.url, address, client_tls())
            (head,) = proxy.heads
    assert measured.tls == "TLSv1.3"
    assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n".encode())
    assert b"Proxy-Authorization: Basic bWU6cEBzcw==\r\n" in head


async def test_an_unknown_name_is_reported_in_the_words_of_the_resolver(
    monkeypatch,
):
    async def not_found(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", not_found)
    assert await failure_of("https://no.such.invalid") == (
        "name",
        "name or service not known",
    )


async def test_a_name_that_cannot_be_one_is_not_found():
    assert (await failure_of(f"https://{'a' * 70}.example"))[0] == "name"


async def test_a_refused_connection_is_reported_in_the_words_of_the_system():
    assert await failure_of(f"http://127.0.0.1:{free_port()}") == (
        "connection",
        "connection refused",
    )


async def test_the_next_address_is_tried(monkeypatch):
    async with ByteServer(hangs()) as server:
        closed, loop = free_port(), asyncio.get_running_loop()
        found = [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))
            for port in (closed, server.port)
        ]

        async def two(*_, **__):
            return found

        monkeypatch.setattr(loop, "getaddrinfo", two)
        await measure_route("http://two.example", None, client_tls())


async def test_an_untrusted_certificate_is_reported():
    async with ByteServer(hangs(), tls=server_tls()) as server:
        step, reason = await failure_of(server.url, None, ssl.create_default_context())
    assert step == "tls"
    assert reason.startswith("certificate verify failed: ")


async def test_a_certificate_for_another_name_is_reported():
    async with ByteServer(hangs(), tls=server_tls("other.example")) as server:
        step, reason = await failure_of(server.url)
    assert step == "tls"
    assert "127.0.0.1" in reason


async def test_a_server_without_tls_is_reported():
    async with ByteServer(says(b"hello"), first=says(b"220 hello\r\n")) as server:
        url = server.url.replace("http:", "https:")
        assert await failure_of(url) == ("tls", "wrong version number")


async def test_a_server_that_hangs_up_during_the_handshake_is_reported():
    async with ByteServer(hangs(), first=closes()) as server:
        step, _ = await failure_of(server.url.replace("http:", "https:"))
    assert step == "tls"


@pytest.mark.parametrize(
    ("move", "reason"),
    [
        (
            says(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"),
            "the proxy says 407 Proxy Authentication Required",
        ),
        (closes(), "the proxy hung up"),
    ],
)
async def test_a_proxy_that_refuses_is_reported(move, reason):
    async with ByteServer(move) as proxy:
        step = await failure_of("https://diga.example", proxy.url)
    assert step == ("tunnel", reason)


async def test_no_step_takes_longer_than_its_limit(monkeypatch):
    monkeypatch.setattr(route, "STEP_SECONDS", 0.05)
    async with ByteServer(hangs()) as server:
        url = server.url.replace("http:", "https:")
        assert await failure_of(url) == ("tls", "no answer within 0.05 s")
        assert (await failure_of("https://diga.example", server.url))[0] == "tunnel"

    async def hang(*_, **__):
        await asyncio.Event().wait()

    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "sock_connect", hang)
    assert (await failure_of("http://127.0.0.1:1"))[0] == "connection"
    monkeypatch.setattr(loop, "getaddrinfo", hang)
    assert (await failure_of("http://127.0.0.1:1"))[0] == "name"
