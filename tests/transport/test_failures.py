"""Each exception becomes an error that says where and why."""

import errno
import pickle
import ssl
from types import SimpleNamespace

import aiohttp
import pytest
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from diga_async import APIConnectionError, APITimeoutError
from diga_async._api.addresses import Peer, peer_of
from diga_async._transport.failures import (
    LOCAL,
    Progress,
    Shortage,
    failure_of,
    is_foreign,
    proxy_refusal,
    timeout_error,
)

API = Peer("api.diga.io", 443)
PROXIED = Peer("api.diga.io", 443, "proxy.corp:3128")
KEY = SimpleNamespace(host="api.diga.io", port=443, is_ssl=True, ssl=True)
BEFORE, AFTER = Progress(), Progress(connected=True)


def connector_error(number, text="x"):
    return aiohttp.ClientConnectorError(KEY, OSError(number, text))


def certificate_error(message):
    error = ssl.SSLCertVerificationError(1, "x")
    error.verify_message = message
    return aiohttp.ClientConnectorCertificateError(KEY, error)


def handshake_error(name):
    error = ssl.SSLError(1, "x")
    error.reason = name
    return aiohttp.ClientConnectorSSLError(KEY, error)


def caused_by_nothing():
    error = RuntimeError("coroutine raised StopIteration")
    error.__cause__ = StopIteration()
    return error


COULD_NOT = "could not connect to api.diga.io:443"
TABLE = [
    (
        connector_error(errno.ECONNREFUSED),
        "connect",
        f"{COULD_NOT}: connection refused (errno {errno.ECONNREFUSED})",
    ),
    (
        connector_error(None, "Multiple exceptions: [Errno 99] x, [Errno 111] y"),
        "connect",
        (
            f"{COULD_NOT}: cannot assign requested address (errno 99), "
            "connection refused (errno 111)"
        ),
    ),
    (
        aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name not known")),
        "dns",
        f"{COULD_NOT}: name resolution failed: Name not known (errno -2)",
    ),
    (AssertionError(), "dns", f"{COULD_NOT}: name resolution failed: "),
    (TypeError(), "dns", f"{COULD_NOT}: name resolution failed: "),
    (caused_by_nothing(), "dns", f"{COULD_NOT}: name resolution failed: "),
    (
        certificate_error("Hostname mismatch, certificate is not valid for 'x'."),
        "tls",
        (
            f"{COULD_NOT}: certificate verify failed: "
            "hostname mismatch, certificate is not valid for 'x'"
        ),
    ),
    (
        certificate_error("self-signed certificate"),
        "tls",
        (
            f"{COULD_NOT}: certificate verify failed: self-signed certificate; "
            "trust its authority with ssl="
        ),
    ),
    (
        handshake_error("WRONG_VERSION_NUMBER"),
        "tls",
        (
            f"{COULD_NOT}: TLS handshake failed: wrong version number; "
            "the port may speak plain http"
        ),
    ),
    (
        aiohttp.ServerFingerprintMismatch(b"", b"", "x", 1),
        "tls",
        f"{COULD_NOT}: the certificate has another fingerprint",
    ),
    (aiohttp.ClientError(), "connect", f"{COULD_NOT}: the connection was refused"),
]


@pytest.mark.parametrize(("error", "phase", "text"), TABLE)
def test_a_failed_connection_says_where_and_why(error, phase, text):
    failure = failure_of(error, BEFORE, API)

    assert failure.phase == phase
    assert str(failure).startswith(text)
    assert (failure.host, failure.port) == ("api.diga.io", 443)
    assert failure.transient == (phase != "tls")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (
            aiohttp.ClientOSError(errno.ECONNRESET, "x"),
            f"connection reset by peer (errno {errno.ECONNRESET})",
        ),
        (
            aiohttp.ServerDisconnectedError(),
            "the connection was closed before the answer was complete",
        ),
        (
            aiohttp.ClientPayloadError("+34911234567"),
            "the answer is incomplete, or is not valid HTTP",
        ),
        (HttpProcessingError(message="+34911234567"), "the answer is not valid HTTP"),
        (ValueError("+34911234567"), "the answer is not valid HTTP"),
        (MemoryError(), "out of memory"),
    ],
)
def test_a_lost_answer_says_why_and_quotes_nothing(error, text):
    failure = failure_of(error, AFTER, API)

    assert str(failure) == f"no answer from api.diga.io:443: {text}"
    assert failure.phase == "read"


def test_the_text_names_the_proxy_without_its_credentials():
    peer = peer_of(URL("https://api.diga.io"), "http://user:secret@proxy.corp:3128")
    failure = failure_of(connector_error(errno.ECONNREFUSED), BEFORE, peer)

    assert peer == PROXIED
    assert f"{COULD_NOT} through proxy.corp:3128: connection" in str(failure)
    assert failure.proxy == "proxy.corp:3128"


@pytest.mark.parametrize(
    ("host", "reason"),
    [
        ("proxy.corp", "the proxy: TLS handshake failed: wrong version number; if it "),
        ("api.diga.io", "TLS handshake failed: wrong version number; the port may "),
        (None, "the proxy or the server: TLS handshake failed: wrong version number"),
    ],
)
def test_a_handshake_that_the_proxy_refused_is_told_apart(host, reason):
    error = handshake_error("WRONG_VERSION_NUMBER")
    port = 3128 if host == "proxy.corp" else 443
    key = SimpleNamespace(host=host, port=port, is_ssl=True, ssl=True)
    error = aiohttp.ClientConnectorSSLError(key, error.os_error)

    failure = failure_of(error, BEFORE, PROXIED)

    assert (failure.phase, failure.transient) == ("tls", False)
    assert failure.reason.startswith(reason)
    assert ("write http:// in its address" in failure.reason) == (host != "api.diga.io")


def test_a_proxys_name_that_is_not_found_is_named():
    error = aiohttp.ClientConnectorDNSError(KEY, OSError(-2, "Name not known"))
    failure = failure_of(error, BEFORE, PROXIED)

    assert "name resolution of proxy.corp failed: Name not known" in str(failure)


@pytest.mark.parametrize(
    ("progress", "limit"),
    [
        (
            Progress(connected=True, expired=True, seconds=10.0),
            "10 s (Timeouts.attempt)",
        ),
        (Progress(expired=True, seconds=2.5), "2.5 s (Timeouts.attempt)"),
        (Progress(connect=5.0), "5 s (Timeouts.connect)"),
    ],
)
def test_a_timeout_names_the_limit_and_its_seconds(progress, limit):
    failure = failure_of(TimeoutError(), progress, API)

    assert isinstance(failure, APITimeoutError)
    assert str(failure).endswith(f"within {limit}")


def test_a_deadline_before_the_first_request_says_that_nothing_was_sent():
    assert str(timeout_error(API, "wait", "total", 60.0)) == (
        "no request was sent to api.diga.io:443: "
        "no free slot within 60 s (Timeouts.total)"
    )


@pytest.mark.parametrize("number", sorted(LOCAL))
def test_a_missing_local_resource_is_a_shortage(number):
    short = failure_of(connector_error(number), BEFORE, API)

    assert isinstance(short, Shortage)
    assert (short.error.phase, short.error.errno) == ("connect", number)
    assert f"(errno {number})" in str(short.error)


@pytest.mark.parametrize(
    ("error", "number"),
    [
        (MemoryError(), errno.ENOMEM),
        (RuntimeError("can't start new thread"), errno.EAGAIN),
    ],
)
def test_memory_and_threads_may_be_short_as_well(error, number):
    assert failure_of(error, BEFORE, API).error.errno == number


def test_after_the_request_was_sent_nothing_is_a_shortage():
    """The request counts: the server has seen it."""
    error = aiohttp.ClientOSError(errno.ENOBUFS, "x")

    assert not isinstance(failure_of(error, AFTER, API), Shortage)


def test_a_resolver_without_descriptors_proves_nothing_about_the_name():
    error = aiohttp.ClientConnectorDNSError(KEY, OSError(-3, "Temporary failure"))
    lacking = Progress(lacking=errno.EMFILE)

    assert failure_of(error, lacking, API).error.errno == errno.EMFILE
    assert failure_of(error, BEFORE, API).phase == "dns"


def test_a_lent_pool_that_is_full_is_a_shortage():
    waiting = Progress(expired=True, pooled=True, seconds=10.0)
    short = failure_of(TimeoutError(), waiting, API)

    assert "no free connection in the lent session's pool" in str(short.error)


@pytest.mark.parametrize(
    ("status", "transient"), [(302, False), (403, False), (407, False), (502, True)]
)
def test_a_proxy_that_refuses_is_named_with_its_status(status, transient):
    failure = proxy_refusal(status, PROXIED)

    assert (failure.proxy_status, failure.transient) == (status, transient)
    assert f"through proxy.corp:3128: the proxy answered {status}" in str(failure)


def test_the_facts_survive_a_pickle():
    error = failure_of(connector_error(errno.ECONNREFUSED), BEFORE, PROXIED)
    twin = pickle.loads(pickle.dumps(error))

    assert str(twin) == str(error)
    assert (twin.host, twin.port, twin.proxy) == ("api.diga.io", 443, "proxy.corp:3128")
    assert (twin.errno, twin.reason) == (errno.ECONNREFUSED, "connection refused")


def test_a_timeout_keeps_its_number_although_it_is_an_os_error():
    error = APITimeoutError("x", errno=110, host="::1", port=80)
    twin = pickle.loads(pickle.dumps(error))

    assert twin.errno == 110
    assert str(twin) == "no answer from [::1]:80: x (errno 110)"


def test_an_error_with_long_texts_stays_small():
    error = APIConnectionError("é" * 999, host="h" * 999, proxy="p" * 999, port=1)

    assert len(pickle.dumps(error)) < 2048


def test_only_the_users_own_code_is_foreign():
    def of_the_user():
        raise TypeError

    for call, foreign in [(of_the_user, True), (lambda: URL(3), False)]:
        with pytest.raises(TypeError) as caught:
            call()
        assert is_foreign(caught.value) is foreign
    with pytest.raises(OSError) as caught:  # noqa: PT011 - any
        raise OSError
    assert not is_foreign(caught.value)
