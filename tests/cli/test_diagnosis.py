"""The findings of a check, and their meaning."""

import json
from email.utils import formatdate

import attrs
import pytest
from fakes import phone_fields, response

from diga_async import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    ClientClosedError,
    InternalServerError,
    InvalidResponseError,
    PermissionDeniedError,
    RateLimitError,
)
from diga_async._api.listing import PhoneQuery, list_phones
from diga_async._cli.diagnosis import Diagnosis, Reply, Setup, unknown_in, wrong_setting
from diga_async._cli.route import Route, UnreachableError

NOW = 1_800_000_000.25
SETUP = Setup(
    address="https://diga.example",
    proxy=None,
    proxy_origin="HTTPS_PROXY",
    key_origin="DIGA_API_KEY",
    key_problem=None,
)
THROUGH_A_PROXY = attrs.evolve(SETUP, proxy="http://***@proxy.example:3128")
ROUTE = Route(
    addresses=("203.0.113.7", "203.0.113.8"),
    name_seconds=0.012,
    connect_seconds=1.25,
    tls="TLSv1.3",
)


def page(records=1, **fields):
    """Return the body of a page, and the page."""
    content = {
        "data": [phone_fields()] * records,
        "has_more": False,
        "total_pages": records,
        **fields,
    }
    body = json.dumps(content).encode()
    return content, list_phones(PhoneQuery(), page_size=1).read(body)


def reply(answer=None, *, seconds=0.2, **headers):
    return Reply(
        answer=page()[1] if answer is None else answer,
        response=response(200, {}, **headers),
        seconds=seconds,
        received_at=NOW,
    )


def diagnosis(answer=None, *, setup=SETUP, route=ROUTE, **options):
    return Diagnosis(setup=setup, route=route, reply=reply(answer, **options))


def text_of(found):
    return "\n".join(f"{line.mark} {line.name}: {line.text}" for line in found.lines())


def test_a_user_who_can_start_sees_a_report_without_a_complaint():
    found = diagnosis()
    assert (found.problem, found.code) == (None, 0)
    assert {line.mark for line in found.lines()} == {"ok"}
    for words in (
        "address: https://diga.example",
        "proxy: none",
        "name: 203.0.113.7 and 1 more, found in 12 ms",
        "connection: with TLSv1.3, made in 1.2 s",
        "key: accepted, may read phones (from DIGA_API_KEY)",
        "phones: 1",
        "answer: came in 200 ms",
        "rate limit: the server announces none; the client finds it",
        "clock: unknown: the server sends no Date",
        "fields: all known",
    ):
        assert f"ok {words}" in text_of(found)


def test_a_proxy_is_named():
    text = text_of(diagnosis(setup=THROUGH_A_PROXY))
    assert "proxy: http://***@proxy.example:3128 (from HTTPS_PROXY)" in text
    assert "name: 203.0.113.7 and 1 more (the proxy), found in 12 ms" in text
    assert "with TLSv1.3 through the proxy" in text


@pytest.mark.parametrize(
    ("fields", "phones", "words"),
    [
        ({"total_pages": 1234, "has_more": True}, 1234, "phones: 1,234"),
        ({"total_pages": None, "has_more": True}, None, "phones: unknown"),
        ({"total_pages": None}, 1, "phones: 1"),
        ({"total_pages": 1, "records": 0}, 0, "phones: 0"),
        ({"total_pages": 0, "records": 0}, 0, "phones: 0"),
        ({"total_pages": None, "records": 0}, 0, "phones: 0"),
    ],
)
def test_the_pages_of_one_phone_are_counted(fields, phones, words):
    found = diagnosis(page(**fields)[1])
    assert found.phones == found.to_dict()["phones"] == phones
    assert words in text_of(found)


def test_a_record_that_is_not_a_phone_is_reported_as_a_warning():
    broken = page(data=[phone_fields(number=None)])[1]
    found = diagnosis(broken)
    assert found.code == 0
    assert "!! record: " in text_of(found)
    assert "$.data[0].number" in text_of(found)


@pytest.mark.parametrize(
    ("headers", "words"),
    [
        (
            {"RateLimit": '"default";r=98;t=12'},
            "98 more requests in the next 12 s",
        ),
        (
            {"X_RateLimit_Remaining": "3", "X_RateLimit_Reset": "60"},
            "3 more requests in the next 60 s",
        ),
        ({"Retry_After": "7"}, "the server asks to wait for 7 s (Retry-After)"),
    ],
)
def test_the_report_says_what_rate_limit_headers_announce(headers, words):
    found = diagnosis(**headers)
    assert f"ok rate limit: {words}" in text_of(found)


@pytest.mark.parametrize(
    ("ahead", "line"),
    [
        (0, "ok clock: agrees with the server's"),
        (1, "ok clock: agrees with the server's"),
        (-1, "ok clock: agrees with the server's"),
        (95, "!! clock: 95 s ahead of the server's; set this machine's"),
        (-4000, "!! clock: 4,000 s behind the server's; set this machine's"),
    ],
)
def test_a_clock_that_is_off_is_reported_as_a_warning(ahead, line):
    found = diagnosis(Date=formatdate(NOW - ahead, usegmt=True))
    assert line in text_of(found)
    assert found.to_dict()["clock_skew"] == pytest.approx(ahead, abs=1)
    assert found.code == 0


def test_a_slow_answer_does_not_put_the_clock_off():
    slow = diagnosis(seconds=8.0, Date=formatdate(NOW - 4, usegmt=True))
    assert "ok clock: agrees" in text_of(slow)


def test_fields_and_values_unknown_to_this_version_are_named():
    sip_config = {"termination_uri": "sip.example", "transport": "tls"}
    phone = phone_fields(sip_config=sip_config, country="ES", status="suspended")
    content, answer = page(data=[phone], next_cursor="x")
    assert list(unknown_in(content, answer)) == [
        "next_cursor",
        "phone.country",
        "phone.sip_config.transport",
        "phone.status 'suspended'",
    ]
    found = diagnosis(answer)
    found = attrs.evolve(found, reply=attrs.evolve(found.reply, unknown=("a", "b")))
    assert "fields: unknown to this version, which keeps them: a, b" in text_of(found)
    assert found.to_dict()["unknown"] == ["a", "b"]


@pytest.mark.parametrize(
    ("error", "code", "step", "following"),
    [
        (AuthenticationError(status=401), 3, "key", "change the key in DIGA_API_KEY"),
        (PermissionDeniedError(status=403), 3, "key", "permission 'Phones: read'"),
        (APIStatusError(status=404), 2, "answer", "check the address (--base-url"),
        (APIStatusError(status=302), 2, "answer", "check the address"),
        (InvalidResponseError("not JSON"), 2, "answer", "check the address"),
        (RateLimitError(status=429), 4, "answer", "try again"),
        (InternalServerError(status=503), 4, "answer", "in a few minutes"),
        (InternalServerError(status=503, retry_after=9.0), 4, "answer", "in 9 s, as"),
        (APIConnectionError("no answer"), 4, "answer", "try again"),
        (ClientClosedError("closed"), 4, "answer", "try again"),
    ],
)
def test_each_failure_of_the_request_names_the_next_step(error, code, step, following):
    found = diagnosis(error)
    assert (found.code, found.problem.step) == (code, step)
    *_, last = found.lines()
    assert (last.mark, last.name) == ("", "next")
    assert following in last.text
    assert [line.name for line in found.lines() if line.mark == "no"] == [step]
    assert found.to_dict()["problem"]["next"] == found.problem.next


def test_an_answer_that_breaks_off_may_mean_that_the_port_speaks_https():
    plain = attrs.evolve(SETUP, address="http://diga.example")
    found = diagnosis(APIConnectionError("reset", phase="read"), setup=plain)
    assert "the port may speak https" in found.problem.next


@pytest.mark.parametrize("setup", [SETUP, THROUGH_A_PROXY])
@pytest.mark.parametrize(
    ("step", "words", "following"),
    [
        ("name", "was not found: why", "DNS"),
        ("connection", "did not accept a connection: why", "firewall"),
        ("tunnel", "did not connect to diga.example:443: why", "user:password@"),
        ("tls", "diga.example:443 did not agree on TLS: why", "SSL_CERT_FILE"),
    ],
)
def test_each_failure_on_the_way_names_the_next_step(setup, step, words, following):
    found = Diagnosis(setup=setup, route=UnreachableError(step, "why"))
    assert found.code == 4
    assert words in found.problem.message
    assert following in found.problem.next
    peer = "proxy.example" if setup.proxy else "diga.example"
    assert peer in found.problem.message or step == "tls"
    named = {"name", "connection"} & {step}
    assert ("--proxy" in found.problem.next) == bool(setup.proxy and named)
    assert found.to_dict()["key"] is None
    assert text_of(found).count("\n") == 3


@pytest.mark.parametrize(
    ("reason", "following"),
    [
        ("wrong version number", "may speak plain http: if it does, set the address"),
        ("no answer within 5 s", "may not speak TLS: check the address (--base-url"),
        (
            "certificate verify failed: Hostname mismatch, certificate is not valid",
            "the certificate is for another host",
        ),
        ("certificate verify failed: certificate has expired", "this machine's clock"),
        (
            "certificate verify failed: unable to get local issuer certificate",
            "for an authority of your own, or a proxy that inspects TLS, set SSL_CERT_",
        ),
    ],
)
def test_a_refused_handshake_names_the_remedy_for_its_reason(reason, following):
    found = Diagnosis(setup=SETUP, route=UnreachableError("tls", reason))
    assert following in found.problem.next


@pytest.mark.parametrize(
    ("message", "step", "following"),
    [
        ("base URL must be http(s); use https", "address", "use https"),
        ("base URL must be http(s)", "address", "correct the address (--base-url"),
        ("--proxy must be http(s)", "proxy", "correct the proxy (--proxy"),
    ],
)
def test_a_wrong_option_is_a_step_of_its_own(message, step, following):
    nowhere = attrs.evolve(SETUP, address=None)
    found = Diagnosis(setup=nowhere, route=wrong_setting(message))
    assert found.code == 2
    assert found.problem.step == step
    assert following in found.problem.next
    assert [line.name for line in found.lines()] == [step, "next"]
    assert found.to_dict().keys() == diagnosis().to_dict().keys()


def test_without_a_key_the_way_to_the_server_is_still_reported():
    keyless = attrs.evolve(SETUP, key_origin=None, key_problem="no API key")
    found = Diagnosis(setup=keyless, route=ROUTE)
    assert found.code == 2
    assert "ok connection" in text_of(found)
    assert "no key: no API key" in text_of(found)
    assert "set DIGA_API_KEY" in found.problem.next
    assert found.to_dict()["key"] == "missing"
    wrong = attrs.evolve(keyless, key_origin="key.txt")
    found = Diagnosis(setup=wrong, route=ROUTE)
    assert found.problem.next == "correct the key in key.txt"
    unreadable = attrs.evolve(wrong, key_problem="cannot read key.txt; name another")
    found = Diagnosis(setup=unreadable, route=ROUTE)
    assert found.problem.message == "cannot read key.txt"
    assert found.problem.next == "name another"


def test_the_report_as_json_has_the_same_keys_whatever_was_found():
    unreachable = Diagnosis(setup=SETUP, route=UnreachableError("name", "why"))
    assert unreachable.to_dict().keys() == diagnosis().to_dict().keys()
    assert json.loads(json.dumps(diagnosis().to_dict())) == diagnosis().to_dict()


@pytest.mark.parametrize(
    ("answer", "word"),
    [
        (None, "accepted"),
        (AuthenticationError(status=401), "refused"),
        (PermissionDeniedError(status=403), "not permitted"),
        (InternalServerError(status=500), None),
    ],
)
def test_json_says_in_a_word_what_became_of_the_key(answer, word):
    assert diagnosis(answer).to_dict()["key"] == word


@pytest.mark.parametrize(
    ("version", "mark", "words"),
    [
        ("3.14.4", "ok", "3.14.4; requests go"),
        ("3.15.0a1", "ok", "3.15.0a1; requests go"),
        ("3.13.5", "!!", "upgrade: this version has CVE-2026-69244"),
    ],
)
def test_an_aiohttp_with_a_known_advisory_is_named(version, mark, words):
    checked = attrs.evolve(SETUP, aiohttp=(version, "requests go directly"))
    lines = Diagnosis(setup=checked, route=ROUTE).lines()
    (line,) = (line for line in lines if line.name == "aiohttp")

    assert line.mark == mark
    assert words in line.text


def test_a_proxy_that_does_not_agree_on_tls_is_named_instead_of_the_server():
    def problem_of(reason):
        route = UnreachableError("proxy tls", reason)
        return Diagnosis(setup=THROUGH_A_PROXY, route=route).problem

    plain = problem_of("wrong version number")
    assert plain.step == "proxy"
    assert plain.message.startswith("proxy.example:3128 did not agree on TLS")
    assert "write http:// in HTTPS_PROXY or --proxy" in plain.next
    assert "diga.example" not in plain.message + plain.next
    untrusted = problem_of("certificate verify failed: self-signed certificate")
    assert "otherwise check the proxy (--proxy or HTTPS_PROXY)" in untrusted.next


def test_a_certificate_that_is_not_trusted_points_to_a_wrong_ssl_cert_file():
    setup = attrs.evolve(SETUP, certificates="SSL_CERT_FILE names x: no such file")
    reason = "certificate verify failed: self-signed certificate"
    found = Diagnosis(setup=setup, route=UnreachableError("tls", reason))
    assert "(SSL_CERT_FILE names x: no such file)" in found.problem.next
