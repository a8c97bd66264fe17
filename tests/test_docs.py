"""The documentation keeps its word: what it shows runs, against the sandbox."""

import ast
import asyncio
import contextlib
import importlib.util
import inspect
import itertools
import re
import shlex
import socket
import sys
import types
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from re import MULTILINE
from typing import Any
from uuid import UUID

import aiohttp
import attrs
import pytest
import uvicorn
from aiohttp import web

import diga_async
import diga_async.cli
from diga_async import DigaClient, RetryPolicy
from diga_async.sandbox import Faults, Sandbox

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

KNOWN = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
NOBODYS = UUID("00000000-0000-4000-8000-000000000000")

PROGRAMS = (
    "collect",
    "handle_errors",
    "lend_session",
    "metrics",
    "nightly",
    "progress",
)
"""The examples that run to an end by themselves; the tutorial runs two more."""

ON_PAGES = ("first_phone", "first_run")

FENCE = re.compile(r"^```(.*)\n((?s:.*?))^```$", MULTILINE)
LINK = re.compile(r"\[[^]]*\]\((?!\w+:)([^)#\s]+)(?:#[^)]*)?\)")


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@attrs.frozen
class Block:
    """
    Something a page shows that can run.

    Attributes:
        source: Python.
        line: Where it starts in its page; 0 for an example, which is a file.
        expected: What the page says it prints. None when it says nothing.
    """

    source: str
    line: int
    expected: str | None

    def compile(self, page: Path) -> types.CodeType:
        # The lines before make a traceback point into the page.
        source = "\n" * self.line + self.source
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: types.CodeType = compile(source, page, "exec", flags, dont_inherit=True)
        return code


def blocks_of(page: Path) -> Iterator[Block]:
    """Find the Python of a page, each with the text block that follows it."""
    text = page.read_text(encoding="utf-8")
    fences = [f for f in FENCE.finditer(text) if f[1] != "console"]
    for fence, following in itertools.pairwise([*fences, None]):
        assert fence is not None
        kind, _, argument = fence[1].partition(" ")
        expected = following[2] if following and following[1] == "text" else None
        if kind == "python":
            yield Block(fence[2], text[: fence.start()].count("\n") + 1, expected)
        elif kind == "{literalinclude}" and expected is not None:
            example = (page.parent / argument).read_text(encoding="utf-8")
            yield Block(example, 0, expected)


PAGES_THAT_RUN = [page for page in PAGES if list(blocks_of(page))]


@pytest.fixture
def sandbox(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    """Serve what the documentation assumes, and have the environment say where."""
    with Sandbox(phones=8) as sandbox:
        record = next(iter(sandbox.phones.values()))
        sandbox.phones[KNOWN] = record | {"id": str(KNOWN), "status": "assigned"}
        monkeypatch.setenv("DIGA_API_KEY", sandbox.api_key)
        monkeypatch.setenv("DIGA_BASE_URL", sandbox.url)
        monkeypatch.chdir(tmp_path)
        ids = [*sandbox.phone_ids, NOBODYS]
        Path("phone_ids.txt").write_text("\n".join(map(str, ids)), encoding="ascii")
        yield sandbox


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import an example as the module it is."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name: str) -> types.ModuleType:
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.mark.parametrize("page", PAGES_THAT_RUN, ids=title)
def test_a_page_does_what_it_shows(
    page: Path,
    sandbox: Sandbox,
    runner: asyncio.Runner,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The blocks of a page are one program, as its reader would type it."""
    names: dict[str, Any] = {
        "__name__": "__main__",
        "diga": DigaClient(),
        "sandbox": sandbox,
        "phone_id": KNOWN,
        "phone_ids": list(sandbox.phone_ids),
    }
    clients = [names["diga"]]
    for block in blocks_of(page):
        run(block.compile(page), names, runner)
        clients.append(names["diga"])
        printed = capsys.readouterr().out
        if block.expected is not None:
            assert sorted(printed.splitlines()) == sorted(block.expected.splitlines())
    for client in clients:
        runner.run(client.close())


def run(code: types.CodeType, names: dict[str, Any], runner: asyncio.Runner) -> None:
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, names)  # noqa: S102 - it is our own documentation
        return

    async def program() -> None:
        await types.FunctionType(code, names)()

    runner.run(program())


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_well(
    name: str, sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    main = example(name).main

    result = asyncio.run(main()) if inspect.iscoroutinefunction(main) else main()

    assert not result
    assert sandbox.requests


def test_every_example_is_shown_and_run() -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    own_source = Path(__file__).read_text(encoding="utf-8")

    assert [f for f in files if f"examples/{f}.py" not in shown] == []
    assert [f for f in files if f'"{f}"' not in own_source] == []


def test_the_nightly_worker_asks_nothing_twice(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    nightly = example("nightly")
    nightly.main()
    written = Path("phones.jsonl").read_text(encoding="utf-8")
    assert len(written.splitlines()) == len(sandbox.phones)
    sandbox.requests.clear()

    assert nightly.main() == 0

    assert [request.phone_id for request in sandbox.requests] == [NOBODYS]
    assert Path("phones.jsonl").read_text(encoding="utf-8") == written


def test_the_nightly_worker_says_when_the_key_is_refused(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    sandbox.api_key = "sk-another"

    assert example("nightly").main() == 2


ERROR_CASES = {
    "nothing goes wrong": ({}, KNOWN, 200),
    "no such phone": ({}, NOBODYS, 404),
    "the server is away": ({"down": True}, KNOWN, 503),
    "the server throttles": ({"per_second": 0.001, "burst": 0}, KNOWN, 503),
    "the server fails": ({"faults": Faults(errors=1.0)}, KNOWN, 503),
    "no phone comes back": ({"faults": Faults(garbage=1.0)}, KNOWN, 502),
    "the key is refused": ({"api_key": "sk-another"}, KNOWN, 502),
    "the key lacks its permission": ({"faults": Faults(forbidden=1.0)}, KNOWN, 502),
}


def misbehave(sandbox: Sandbox, settings: dict[str, Any]) -> None:
    for name, value in settings.items():
        setattr(sandbox, name, value)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the clients of examples give up at once."""
    once = RetryPolicy(max_attempts=1)
    defaults = DigaClient.__init__.__kwdefaults__ or {}
    monkeypatch.setitem(defaults, "retry", once)


async def answer_of(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())


@contextlib.asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncIterator[str]:
    """Serve as uvicorn does, on a port of its own choice."""
    config = uvicorn.Config(app, lifespan="on", log_level="error", log_config=None)
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:
            assert not serving.done()
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
        listener.close()


@contextlib.asynccontextmanager
async def under_aiohttp(app: web.Application) -> AsyncIterator[str]:
    """Serve as `aiohttp.web.run_app` does, on a port of its own choice."""
    app_runner = web.AppRunner(app, access_log=None)
    await app_runner.setup()
    try:
        await web.TCPSite(app_runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{app_runner.addresses[0][1]}"
    finally:
        await app_runner.cleanup()


def services(example: Callable[[str], Any]) -> Iterable[Any]:
    yield under_uvicorn(example("fastapi_service").app)
    yield under_aiohttp(example("aiohttp_service").make_app())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("settings", "phone_id", "expected"), ERROR_CASES.values(), ids=ERROR_CASES
)
async def test_the_services_answer_every_error(
    settings: dict[str, Any],
    phone_id: UUID,
    expected: int,
    sandbox: Sandbox,
    example: Callable[[str], Any],
) -> None:
    for service in services(example):
        async with service as url:
            misbehave(sandbox, settings)
            if sandbox.per_second:
                await answer_of(f"{url}/phones/{phone_id}")
            status, body = await answer_of(f"{url}/phones/{phone_id}")

        assert status == expected
        if expected == 200:
            number = sandbox.phones[phone_id]["number"]
            assert body == {"number": number, "status": "assigned"}


async def test_the_services_refuse_what_is_no_id(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    answers = []
    for service in services(example):
        async with service as url:
            answers.append((await answer_of(f"{url}/phones/nope"))[0])

    assert answers == [422, 400]
    assert sandbox.requests == []


@pytest.mark.usefixtures("sandbox")
async def test_the_fastapi_service_shows_its_health(
    example: Callable[[str], Any],
) -> None:
    async with under_uvicorn(example("fastapi_service").app) as url:
        await answer_of(f"{url}/phones/{KNOWN}")
        status, health = await answer_of(f"{url}/health")

    assert (status, health["found"], health["outage"]) == (200, 1, False)


@pytest.mark.usefixtures("sandbox")
async def test_the_telegram_bot_answers(example: Callable[[str], Any]) -> None:
    """The bot talks to a Bot API on loopback, through its own dispatcher."""
    pytest.importorskip("aiogram")
    from aiogram import Bot  # noqa: PLC0415 - only where it is installed
    from aiogram.client.session.aiohttp import AiohttpSession  # noqa: PLC0415
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415

    said: list[str] = []
    message = {"message_id": 1, "date": 0, "chat": {"id": 1, "type": "private"}}

    async def take(request: web.Request) -> web.Response:
        said.append(str((await request.post())["text"]))
        return web.json_response({"ok": True, "result": message})

    api = web.Application()
    api.router.add_post("/bot42:token/sendMessage", take)
    async with under_aiohttp(api) as url:
        session = AiohttpSession(api=TelegramAPIServer.from_base(url))
        async with Bot("42:token", session=session) as bot, DigaClient() as diga:
            dispatcher = example("aiogram_bot").make_dispatcher(diga)
            for number, words in enumerate((f"/phone {KNOWN}", "/phone", "/phone x")):
                update = {"update_id": number, "message": message | {"text": words}}
                await dispatcher.feed_raw_update(bot, update)

    assert said[0].endswith(" is assigned.")
    assert said[1:] == ["Say /phone and the id of a phone."] * 2


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("settings", "phone_id", "expected"), ERROR_CASES.values(), ids=ERROR_CASES
)
async def test_the_telegram_bot_has_words_for_every_error(
    settings: dict[str, Any],
    phone_id: UUID,
    expected: int,
    sandbox: Sandbox,
    example: Callable[[str], Any],
) -> None:
    pytest.importorskip("aiogram")
    bot = example("aiogram_bot")
    misbehave(sandbox, settings)
    async with DigaClient() as diga:
        words = [await bot.status_of(diga, str(phone_id)) for _ in range(2)][-1]

    beginnings = {
        200: "Recepción",
        404: "There is no",
        502: "Something is wrong",
        503: "I cannot find out",
    }
    assert words.startswith(beginnings[expected])


async def test_the_discord_cog_answers(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of audioop, on 3.12
        pytest.importorskip("discord")
        cog = example("discord_cog").Phones()
    said: list[str] = []

    class Context:
        async def send(self, words: str) -> None:
            said.append(words)

    for phone_id in (str(KNOWN), str(NOBODYS), "nope"):
        await cog.phone.callback(cog, Context(), phone_id)
    sandbox.api_key = "sk-another"
    await cog.phone.callback(cog, Context(), str(KNOWN))
    await cog.cog_unload()

    assert said[0].endswith(" is assigned.")
    assert said[1:] == [
        "There is no such phone.",
        "That is not the id of a phone.",
        "I cannot find out just now.",
    ]


def test_the_tests_of_the_testing_page_pass(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("greeting", "test_greeting"):
        source = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
        pytester.makepyfile(**{name: source})
    for name in ("greeting", "test_greeting"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    pytester.syspathinsert()

    result = pytester.runpytest_inprocess(
        "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:hypothesispytest"
    )

    result.assert_outcomes(passed=4)


def test_the_house_is_drawn_as_it_is_built() -> None:
    """A row of the table of modules imports from rows above its own."""
    page = (DOCS / "explanation" / "house.md").read_text(encoding="utf-8")
    (drawn,) = (body for kind, body in FENCE.findall(page) if kind == "{rooms}")
    rooms = [room for line in drawn.splitlines() for room in line.split(":")[1].split()]
    package = Path(diga_async.__file__).parent

    for number, room in enumerate(rooms):
        if room != "__init__":
            source = (package / f"{room}.py").read_text(encoding="utf-8")
            found = re.findall(
                r"^from diga_async(?:\.| import )(\w+)", source, MULTILINE
            )
            imported = {name if name in rooms else "__init__" for name in found}
            assert imported <= set(rooms[:number]), room


@pytest.mark.parametrize("name", ["reliability", "attacks"])
def test_the_tests_that_a_page_names_are_there(name: str) -> None:
    page = (DOCS / "explanation" / f"{name}.md").read_text(encoding="utf-8")
    shown = re.findall(r"`(test_\w+)`{1,2}: ([^.`)]+)[.)]", page)
    missing = [
        (file, claim)
        for file, claims in shown
        for claim in claims.split("; ")
        if f"def test_{claim.replace(' ', '_')}("
        not in (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
    ]

    assert missing == []
    assert len(shown) >= 20


def test_every_promise_has_its_row_and_no_cell_is_empty() -> None:
    page = (DOCS / "explanation" / "reliability.md").read_text(encoding="utf-8")
    (table,) = (body for kind, body in FENCE.findall(page) if kind == "{eval-rst}")
    _, _, *rows = re.split(r"^   \* - ", table, flags=MULTILINE)
    cells = [re.split(r"^     - ", row, flags=MULTILINE) for row in rows]

    assert [number.strip() for number, *_ in cells] == [str(n) for n in range(1, 21)]
    assert [row for row in cells if len(row) != 4 or not all(map(str.strip, row))] == []
    assert [number for number, *_, shown in cells if "``test_" not in shown] == []


def options_of(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in parameter.opts if name.startswith("--"))
    for below in getattr(command, "commands", {}).values():
        yield from options_of(below)


def test_every_option_of_the_command_line_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    options = set(options_of(diga_async.cli.diga))

    assert sorted(o for o in options if f"`{o}" not in page) == []
    assert len(options) > 10


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", page.read_text(encoding="utf-8"), flags=MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("section", "ending"),
    [("Try it", ["diga", "demo"]), ("Test it", ["-m", "pytest"])],
)
def test_the_readme_has_one_command_to_paste(section: str, ending: list[str]) -> None:
    fences = FENCE.findall(sections(ROOT / "README.md")[section])

    assert [kind for kind, _ in fences] == ["sh"]
    (command,) = fences[0][1].splitlines()
    words = shlex.split(command.replace("/diga ", "/ diga "))
    assert words[-2:] == ending
    assert words[:3] == ["python3", "-m", "venv"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=title)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))

    missing = [
        link
        for link in LINK.findall(text)
        if not (page.parent / link).exists() and not link.startswith(".github/")
    ]

    assert missing == []
