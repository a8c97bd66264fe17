"""The API in memory: a project of phones that changes while it is read."""

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit
from uuid import UUID

import attrs
from fakes import KEY, phone_fields, response
from hypothesis import strategies as st

from diga_async import DigaClient, Limits, RetryPolicy
from diga_async._api.messages import Request, Response

Query = dict[str, str]
#: Replaces the answer to a request of the listing; None keeps it.
Fault = Callable[[Query, dict[str, Any]], Response | None]


def ids(count: int, start: int = 1) -> list[UUID]:
    return [UUID(int=number) for number in range(start, start + count)]


@attrs.define(eq=False)
class Project:
    """
    Phones in the order of the listing, ascending, and how they are answered.

    Attributes:
        phones: The phones served, by id.
        hidden: The phones that the listing does not show.
        numbered: Whether a page says its number and how many there are.
        gone: The answer to a cursor whose phone is gone.
        faults: One for each request of the listing, in order, while there are any.
        changes: Called before each request while there are any, in order.
        seen: The requests so far, as paths.
    """

    phones: dict[UUID, dict[str, Any]]
    hidden: set[UUID] = attrs.field(factory=set)
    numbered: bool = True
    gone: int = 200
    faults: list[Fault | None] = attrs.field(factory=list)
    changes: list[Callable[["Project"], object]] = attrs.field(factory=list)
    seen: list[str] = attrs.field(factory=list)

    @classmethod
    def of(cls, phone_ids: Iterable[UUID], **options: Any) -> "Project":
        return cls({i: phone_fields(i) for i in phone_ids}, **options)

    @property
    def pages_seen(self) -> list[Query]:
        """The requests of the listing so far."""
        return [q for path in self.seen if (q := query_of(path)) is not None]

    @property
    def looked_up(self) -> list[UUID]:
        """The ids looked up so far."""
        return [UUID(p.rsplit("/", 1)[1]) for p in self.seen if query_of(p) is None]

    def move(self, phone_id: UUID, position: int) -> None:
        """Put a phone elsewhere in the order, or add it there."""
        others = [i for i in self.phones if i != phone_id]
        others.insert(min(position, len(others)), phone_id)
        fields = self.phones.get(phone_id) or phone_fields(phone_id)
        self.phones = {i: self.phones.get(i, fields) for i in others}

    def answer(self, path: str) -> Response:
        if self.changes:
            self.changes.pop(0)(self)
        self.seen.append(path)
        query = query_of(path)
        if query is None:
            fields = self.phones.get(UUID(path.rsplit("/", 1)[1]))
            return response(200, fields) if fields else response(404, {})
        return self._page(query)

    def _page(self, query: Query) -> Response:
        size = int(query.get("limit", 20))
        shown = [i for i in self.phones if i not in self.hidden]
        if query.get("order", "desc") == "desc":
            shown.reverse()
        begin = (int(query.get("page", 1)) - 1) * size
        fault = self.faults.pop(0) if self.faults else None
        if "after" in query:
            cursor = UUID(query["after"])
            if cursor not in shown:
                nothing = {"data": [], "has_more": False}
                return response(self.gone, nothing if self.gone == 200 else {})
            begin = shown.index(cursor) + 1
        page = shown[begin : begin + size]
        content: dict[str, Any] = {
            "data": [self.phones[i] for i in page],
            "has_more": begin + size < len(shown),
            "last_id": str(page[-1]) if page else None,
        }
        if self.numbered and "after" not in query:
            content["current_page"] = int(query.get("page", 1))
            content["total_pages"] = max(1, -(-len(shown) // size))
        return (fault and fault(query, content)) or response(200, content)


def query_of(path: str) -> Query | None:
    """Return the query of a request of the listing; None for a lookup."""
    parts = urlsplit(path)
    return dict(parse_qsl(parts.query)) if parts.path.endswith("/") else None


class ModelTransport:
    """Answers from a project; as slowly as *gate* opens, if there is one."""

    closed = False
    blocked = 0.0

    def __init__(self, project: Project, gate: asyncio.Semaphore | None = None) -> None:
        self.project = project
        self.gate = gate

    def take(self, **_: Any) -> None:
        """Have no connection that is ready."""

    async def send(self, request: Request, **_: Any) -> Response:
        if self.gate is not None:
            await self.gate.acquire()
        await asyncio.sleep(0)
        return self.project.answer(request.path)

    def retire(self) -> None:
        """Called for the record of another phone."""


def client_of(
    project: Project, *, gate: asyncio.Semaphore | None = None, **options: Any
) -> DigaClient:
    """Make an open client whose requests *project* answers."""
    quick = RetryPolicy(max_attempts=2, base_delay=0.0, throttle_delay=0.0)
    given = {"retry": quick, "limits": Limits(adaptive=False), **options}
    client = DigaClient(KEY, base_url="http://127.0.0.1:9", **given)
    client._lifecycle.open().engine._transport = ModelTransport(project, gate)
    return client


# --- faults of one page


def fails(_: Query, __: dict[str, Any]) -> Response:
    return response(500, {})


def is_garbage(_: Query, __: dict[str, Any]) -> Response:
    return response(200, b"<html>")


def is_empty(_: Query, content: dict[str, Any]) -> Response:
    return response(200, content | {"data": [], "has_more": True})


def has_a_broken_record(_: Query, content: dict[str, Any]) -> Response:
    data = [*content["data"]]
    if data:
        data[len(data) // 2] = data[len(data) // 2] | {"number": None}
    return response(200, content | {"data": data})


def says(**changes: Any) -> Fault:
    """Make a fault that changes the fields of a page."""

    def changed(_: Query, content: dict[str, Any]) -> Response:
        return response(200, content | changes)

    return changed


# --- projects that change


@st.composite
def comings_and_goings(draw: st.DrawFn) -> Any:
    """Draw phones that stay, some that go or come, when, and where."""
    stable = ids(draw(st.integers(0, 20)))
    leaving, coming = ids(6, start=100), ids(6, start=200)
    order = draw(st.permutations(stable + leaving))
    moments = st.integers(0, 12)
    goings = {i: draw(moments) for i in leaving}
    comings = {i: (draw(moments), draw(st.integers(0, 30))) for i in coming}
    return stable, order, goings, comings


def changes_of(
    goings: dict[UUID, int], comings: dict[UUID, tuple[int, int]]
) -> list[Callable[[Project], object]]:
    """Return what changes before each request."""

    def change(project: Project, now: int) -> None:
        for phone_id, moment in goings.items():
            if moment == now:
                project.phones.pop(phone_id, None)
        for phone_id, (moment, position) in comings.items():
            if moment == now:
                project.move(phone_id, position)

    return [partial(change, now=now) for now in range(13)]
