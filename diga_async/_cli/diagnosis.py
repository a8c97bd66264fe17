"""The findings of a check, and their meaning; it is pure."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Literal

import attrs

from diga_async import (
    APIConnectionError,
    APIStatusError,
    AuthenticationError,
    DigaError,
    InvalidResponseError,
    PermissionDeniedError,
    Phone,
    RateLimitError,
    SipConfig,
)
from diga_async._api.headers import header, http_date, rate_limit, retry_after
from diga_async._api.listing import Page
from diga_async._api.messages import Response
from diga_async._cli.client_options import permission_remedy
from diga_async._cli.exit_codes import ExitCode, message_of
from diga_async._cli.route import Peer, Route, UnreachableError

#: The fields of a page that the published schema has.
_PAGE_FIELDS = frozenset(
    {"data", "first_id", "last_id", "has_more", "current_page", "total_pages"}
)
#: `Date` counts whole seconds, so that a clock may seem off by one.
CLOCK_TOLERANCE = 2.0

Mark = Literal["ok", "!!", "no", ""]


@attrs.frozen(kw_only=True)
class Setup:
    """
    The configuration that a check uses.

    Attributes:
        address: The server; None when no valid one was given.
        proxy: The proxy without its password; None for none.
        proxy_origin: Where the proxy comes from.
        key_origin: Where the key comes from; None when there is none.
        key_problem: Why there is no key that could be sent; None when there is.
        certificates: What SSL_CERT_FILE or SSL_CERT_DIR names, with its faults; None
            when neither is set.
        aiohttp: Its version, and which way requests take; None before a client opens.
    """

    address: str | None
    proxy: str | None
    proxy_origin: str
    key_origin: str | None
    key_problem: str | None
    certificates: str | None = None
    aiohttp: tuple[str, str] | None = None


@attrs.frozen(kw_only=True)
class Reply:
    """
    The answer to the one request.

    Attributes:
        answer: The page, or why there is none.
        response: The response; None when none came.
        unknown: The fields and values in it that this version does not know.
        seconds: How long it took.
        received_at: When it came, in seconds since 1970 by this machine's clock.
    """

    answer: Page | DigaError
    response: Response | None
    unknown: tuple[str, ...] = ()
    seconds: float
    received_at: float


@attrs.frozen
class Line:
    """
    One line of the report.

    Attributes:
        mark: Whether it is in order.
        name: What it is about.
        text: What was found.
    """

    mark: Mark
    name: str
    text: str


@attrs.frozen(kw_only=True)
class Problem:
    """
    A problem that keeps a user from starting.

    Attributes:
        step: What failed, as the report names it.
        message: Why.
        next: What to do about it.
        code: The exit code.
    """

    step: str
    message: str
    next: str
    code: ExitCode


@attrs.frozen(kw_only=True)
class Diagnosis:
    """
    Everything that a check has found out.

    Attributes:
        setup: What it starts from.
        route: What the way to the server took; or why it cannot be reached; or which
            option or variable is wrong, so that nothing was tried.
        reply: What came back; None when nothing was sent.
    """

    setup: Setup
    route: Route | UnreachableError | Problem
    reply: Reply | None = None

    # --- what it means

    @property
    def problem(self) -> Problem | None:
        """The problem that keeps the user from starting; None without one."""
        if isinstance(self.route, Problem):
            return self.route
        if isinstance(self.route, UnreachableError):
            return _problem_of_route(self.route, self.setup)
        if self.setup.key_problem is not None:
            origin = self.setup.key_origin
            is_missing = "create a key with 'Phones: read' and set DIGA_API_KEY to it"
            is_wrong = f"correct the key in {origin}"
            message, _, remedy = self.setup.key_problem.partition("; ")
            return Problem(
                step="key",
                message=message,
                next=remedy or (is_wrong if origin else is_missing),
                code=ExitCode.USAGE,
            )
        if self.reply is None or isinstance(self.reply.answer, Page):
            return None
        return _problem_of_answer(self.reply.answer, self.setup)

    @property
    def code(self) -> ExitCode:
        """The exit code."""
        return ExitCode.ALL_FOUND if self.problem is None else self.problem.code

    @property
    def phones(self) -> int | None:
        """The number of phones; None when that is not known."""
        page = self._page
        if page is None:
            return None
        if page.total_pages is not None:
            return page.total_pages if page.records else 0
        return None if page.has_more else len(page.records)

    @property
    def clock_skew(self) -> float | None:
        """Seconds that this machine's clock is ahead; None when that is not known."""
        response = None if self.reply is None else self.reply.response
        date = None if response is None else http_date(header(response, "Date"))
        return None if date is None else self._skew_from(date)

    def _skew_from(self, date: datetime) -> float:
        assert self.reply is not None  # noqa: S101 - it brought the date
        # The server wrote it in the middle of the exchange and of its second.
        return self.reply.received_at - self.reply.seconds / 2 - date.timestamp() - 0.5

    @property
    def _page(self) -> Page | None:
        answer = None if self.reply is None else self.reply.answer
        return answer if isinstance(answer, Page) else None

    # --- the report

    def lines(self) -> Iterator[Line]:
        """Yield the report, line by line."""
        setup, problem = self.setup, self.problem
        if setup.address is not None:
            yield Line("ok", "address", setup.address)
            origin = f" (from {setup.proxy_origin})" if setup.proxy else ""
            yield Line("ok", "proxy", f"{setup.proxy or 'none'}{origin}")
        if setup.aiohttp is not None:
            yield _aiohttp_line(*setup.aiohttp)
        if isinstance(self.route, Route):
            yield from self._route_lines(self.route)
        if problem is not None:
            yield Line("no", problem.step, problem.message)
        if self.reply is not None:
            yield from self._reply_lines()
        if problem is not None:
            yield Line("", "next", problem.next)

    def _route_lines(self, route: Route) -> Iterator[Line]:
        first, *others = route.addresses
        more = f" and {len(others)} more" if others else ""
        whose = " (the proxy)" if self.setup.proxy else ""
        took = _short(route.name_seconds)
        yield Line("ok", "name", f"{first}{more}{whose}, found in {took}")
        how = f"with {route.tls}" if route.tls else "without TLS"
        through = " through the proxy" if self.setup.proxy else ""
        took = _short(route.connect_seconds)
        yield Line("ok", "connection", f"{how}{through}, made in {took}")

    def _reply_lines(self) -> Iterator[Line]:
        assert self.reply is not None  # noqa: S101 - for the type checker
        if self._page is not None:
            origin = self.setup.key_origin
            yield Line("ok", "key", f"accepted, may read phones (from {origin})")
            count = "unknown: the server does not say how many"
            yield Line(
                "ok", "phones", count if self.phones is None else f"{self.phones:,}"
            )
            for record in self._page.bad_records:
                yield Line("!!", "record", str(record.error))
        if self.reply.response is not None:
            if self.problem is None or self.problem.step != "answer":
                yield Line("ok", "answer", f"came in {_short(self.reply.seconds)}")
            yield Line("ok", "rate limit", _rate_limit_words(self.reply.response))
            yield self._clock_line()
        if self._page is not None:
            unknown = ", ".join(self.reply.unknown)
            words = f"unknown to this version, which keeps them: {unknown}"
            yield Line("ok", "fields", words if unknown else "all known")

    def _clock_line(self) -> Line:
        skew = self.clock_skew
        if skew is None:
            return Line("ok", "clock", "unknown: the server sends no Date")
        if abs(skew) <= CLOCK_TOLERANCE:
            return Line("ok", "clock", "agrees with the server's")
        way = "ahead of" if skew > 0 else "behind"
        return Line(
            "!!", "clock", f"{abs(skew):,.0f} s {way} the server's; set this machine's"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON types."""
        route = self.route if isinstance(self.route, Route) else None
        response = None if self.reply is None else self.reply.response
        limit = None if response is None else rate_limit(response)
        problem = self.problem
        return {
            "address": self.setup.address,
            "proxy": self.setup.proxy,
            "aiohttp": self.setup.aiohttp and self.setup.aiohttp[0],
            "addresses": [] if route is None else list(route.addresses),
            "name_seconds": route and _rounded(route.name_seconds),
            "connect_seconds": route and _rounded(route.connect_seconds),
            "tls": route and route.tls,
            "answer_seconds": response and self.reply and _rounded(self.reply.seconds),
            "key": self._key_word(),
            "key_origin": self.setup.key_origin,
            "phones": self.phones,
            "rate_limit": limit and {"remaining": limit[0], "seconds": limit[1]},
            "clock_skew": None if self.clock_skew is None else round(self.clock_skew),
            "unknown": [] if self.reply is None else list(self.reply.unknown),
            "problem": problem
            and {
                "step": problem.step,
                "message": problem.message,
                "next": problem.next,
            },
        }

    def _key_word(self) -> str | None:
        if self._page is not None:
            return "accepted"
        answer = None if self.reply is None else self.reply.answer
        if isinstance(answer, PermissionDeniedError):
            return "not permitted"
        if isinstance(answer, AuthenticationError):
            return "refused"
        return "missing" if self.setup.key_problem else None


#: aiohttp's security advisories that the versions page lists, by the first release
#: without them.
ADVISORIES = (((3, 14, 4), "CVE-2026-69244"),)


def _aiohttp_line(version: str, way: str) -> Line:
    """
    Say which aiohttp is used and how, and whether it has a known advisory.

    >>> _aiohttp_line("3.13.5", "requests go through aiohttp's session: a patch").mark
    '!!'
    """
    numbers = tuple(int(n) for n in re.findall(r"\d+", version)[:3])
    known = ", ".join(name for fixed, name in ADVISORIES if numbers < fixed)
    if known:
        advice = f"upgrade: this version has {known}"
        return Line("!!", "aiohttp", f"{version}; {way}; {advice}")
    return Line("ok", "aiohttp", f"{version}; {way}")


def _short(seconds: float) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _rounded(seconds: float) -> float:
    return round(seconds, 4)


def _rate_limit_words(response: Response) -> str:
    pause = retry_after(header(response, "Retry-After"), header(response, "Date"))
    if pause is not None:
        return f"the server asks to wait for {pause:g} s (Retry-After)"
    limit = rate_limit(response)
    if limit is None:
        return "the server announces none; the client finds it"
    return f"{limit[0]:,} more requests in the next {limit[1]:g} s"


def unknown_in(content: Mapping[str, Any], page: Page) -> Iterator[str]:
    """
    Yield the fields and values that this version does not know.

    Args:
        content: The body of a response.
        page: What it was read as.
    """
    yield from _unknown_fields(content)
    for phone in page.phones:
        for name in ("status", "telephony_provider"):
            value = getattr(phone, name)
            if not value.known:
                yield f"phone.{name} {value[:100]!r}"


def _unknown_fields(content: Mapping[str, Any]) -> Iterator[str]:
    yield from _unknown_in(content, _PAGE_FIELDS, "")
    known = {field.name for field in attrs.fields(Phone)} - {"extra"}
    sip_known = {field.name for field in attrs.fields(SipConfig)} - {"extra"}
    for record in content.get("data", ()):
        if isinstance(record, dict):
            yield from _unknown_in(record, known, "phone.")
            sip_config = record.get("sip_config")
            if isinstance(sip_config, dict):
                yield from _unknown_in(sip_config, sip_known, "phone.sip_config.")


def _unknown_in(
    content: Mapping[str, Any], known: set[str] | frozenset[str], where: str
) -> Iterator[str]:
    yield from (f"{where}{name[:100]}" for name in content if name not in known)


# --- what to do next


def wrong_setting(message: str) -> Problem:
    """Return the problem of an option or variable that a client cannot be made with."""
    what, _, remedy = message.partition("; ")
    is_proxy = "proxy" in message.lower()
    return Problem(
        step="proxy" if is_proxy else "address",
        message=what,
        next=remedy or f"correct {_WHERE_TO_SET[is_proxy]}",
        code=ExitCode.USAGE,
    )


def _problem_of_route(error: UnreachableError, setup: Setup) -> Problem:
    assert setup.address is not None  # noqa: S101 - there is a way to it
    server = Peer.of(setup.address)
    peer = server if setup.proxy is None else Peer.of(setup.proxy)
    where = _WHERE_TO_SET[setup.proxy is not None]
    instead = "" if setup.proxy else "; behind a company's proxy, set HTTPS_PROXY"
    match error.step:
        case "name":
            what = f"{peer.host} was not found"
            following = f"check {where} and this machine's DNS{instead}"
        case "connection":
            what = f"{peer} did not accept a connection"
            following = f"check {where} and the firewall{instead}"
        case "tunnel":
            what = f"{peer} did not connect to {server}"
            following = "check the proxy's address, and user:password@ in it"
        case _:
            of_proxy = error.step == "proxy tls"
            what = f"{peer if of_proxy else server} did not agree on TLS"
            following = _next_after_tls(error.reason, server, setup, of_proxy=of_proxy)
    return Problem(
        step=_STEPS.get(error.step, error.step),
        message=f"{what}: {error.reason}",
        next=following,
        code=ExitCode.STOPPED,
    )


#: What the report calls a step of the way.
_STEPS = {"tunnel": "proxy", "proxy tls": "proxy", "tls": "TLS"}


def _next_after_tls(reason: str, server: Peer, setup: Setup, *, of_proxy: bool) -> str:
    where = _WHERE_TO_SET[of_proxy]
    if of_proxy and "wrong version number" in reason:
        return (
            "the proxy may speak plain http: if it does, write http:// in "
            "HTTPS_PROXY or --proxy"
        )
    if "wrong version number" in reason:
        return (
            f"the port may speak plain http: if it does, set {where} to http://{server}"
        )
    if reason.startswith("no answer"):
        return f"the port may not speak TLS: check {where}"
    if "mismatch" in reason:
        return f"check {where}: the certificate is for another host"
    if "expired" in reason or "not yet valid" in reason:
        return "check this machine's clock; if it is right, ask the server's operator"
    remedy = (
        "for an authority of your own, or a proxy that inspects TLS, set SSL_CERT_FILE "
        "to a file with its certificate"
    )
    if setup.certificates is not None:
        remedy = f"{remedy} ({setup.certificates})"
    return f"{remedy}; otherwise check {where}"


_WHERE_TO_SET = {
    True: "the proxy (--proxy or HTTPS_PROXY)",
    False: "the address (--base-url or DIGA_BASE_URL)",
}


def _problem_of_answer(error: DigaError, setup: Setup) -> Problem:
    message, origin = message_of(error), setup.key_origin
    match error:
        case AuthenticationError():
            return Problem(
                step="key",
                message=f"refused (from {origin}): {message}",
                next=f"change the key in {origin}",
                code=ExitCode.REFUSED,
            )
        case PermissionDeniedError():
            return Problem(
                step="key",
                message=f"may not read phones (from {origin}): {message}",
                next=permission_remedy(error, origin),
                code=ExitCode.REFUSED,
            )
        case APIConnectionError(phase="read") if (setup.address or "")[:5] == "http:":
            following = (
                "try again; if it happens again, the port may speak https, or no HTTP: "
                f"check {_WHERE_TO_SET[False]}"
            )
        case APIStatusError(status=429 | 503, retry_after=float() as seconds):
            following = f"try again in {seconds:g} s, as the server asks"
        case APIConnectionError() | RateLimitError():
            following = "try again; if it happens again, ask the server's operator"
        case APIStatusError(status=status) if status >= 500:  # noqa: PLR2004
            following = "the server has a fault; try again in a few minutes"
        case APIStatusError() | InvalidResponseError():
            return Problem(
                step="answer",
                message=f"there is no Diga API at {setup.address}: "
                + message.partition("; check ")[0],  # which is said below
                next=f"check {_WHERE_TO_SET[False]}",
                code=ExitCode.USAGE,
            )
        case _:
            following = "try again"
    return Problem(
        step="answer", message=message, next=following, code=ExitCode.STOPPED
    )
