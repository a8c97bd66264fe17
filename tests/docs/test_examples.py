"""The code in the documentation runs against the sandbox."""

import ast
import asyncio
import atexit
import contextlib
import functools
import importlib.util
import inspect
import itertools
import json
import logging
import os
import random
import re
import shlex
import signal
import socket
import sqlite3
import sys
import types
import warnings
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from re import MULTILINE
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import aiohttp
import attrs
import pytest
import rich_click
import uvicorn
from aiohttp import web
from frameworks import need, need_imports

import diga_async
import diga_async._cli.app
import diga_async.sandbox
from diga_async import DigaClient, Phone, RetryPolicy
from diga_async.sandbox import Faults, Sandbox

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = DOCS / "examples"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]

KNOWN = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
UNKNOWN = UUID("00000000-0000-4000-8000-000000000000")

PROGRAMS = (
    "after_diga_async",
    "before_diga_async",
    "collect",
    "docker_key",
    "handle_errors",
    "lend_session",
    "metrics",
    "nightly",
    "nightly_export",
    "phone_cache",
    "progress",
    "prometheus_metrics",
    "sync_phones",
)
"""The examples that run to their end; the tutorial runs two more."""

ON_PAGES = ("first_phone", "first_run")

FENCE = re.compile(r"^```(.*)\n((?s:.*?))^```$", MULTILINE)
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)|^\[[^]]+\]: (\S+)$", MULTILINE)
HEADING = re.compile(r"^#+ (.+)$", MULTILINE)


def title(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@attrs.frozen
class Block:
    """
    Python on a page.

    Attributes:
        source: The code.
        line: Where it starts in its page; 0 for an example, which is a file.
        expected: The output that the page shows. None when it shows none.
    """

    source: str
    line: int
    expected: str | None

    def compile(self, page: Path) -> types.CodeType:
        # Blank lines before it make a traceback point into the page.
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
    """Serve the phones that the documentation assumes, at the environment's address."""
    with Sandbox(phones=8) as sandbox:
        record = next(iter(sandbox.phones.values()))
        sandbox.phones[KNOWN] = record | {"id": str(KNOWN), "status": "assigned"}
        monkeypatch.setenv("DIGA_API_KEY", sandbox.api_key)
        monkeypatch.setenv("DIGA_BASE_URL", sandbox.url)
        monkeypatch.chdir(tmp_path)
        ids = [*sandbox.phone_ids, UNKNOWN]
        Path("phone_ids.txt").write_text("\n".join(map(str, ids)), encoding="ascii")
        yield sandbox


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import an example as a module."""
    monkeypatch.syspath_prepend(EXAMPLES)

    def load(name: str) -> types.ModuleType:
        path = EXAMPLES / f"{name}.py"
        need_imports(path.read_text(encoding="utf-8"))
        spec = importlib.util.spec_from_file_location(name, path)
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
    """The blocks of a page are one program."""
    for block in blocks_of(page):
        need_imports(block.source)
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
    name: str,
    sandbox: Sandbox,
    example: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    Path("key").write_text(f"{sandbox.api_key}\n", encoding="ascii")
    monkeypatch.setenv("DIGA_API_KEY_FILE", "key")
    main = example(name).main

    result = asyncio.run(main()) if inspect.iscoroutinefunction(main) else main()

    assert not result
    assert sandbox.requests


def test_every_example_is_shown_and_run() -> None:
    files = {path.stem for path in EXAMPLES.glob("*.py")}
    shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    tests = "".join(
        path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/*.py")
    )

    assert [f for f in files if f"examples/{f}.py" not in shown] == []
    names = {f.removeprefix("test_") for f in files}
    used = r'"{0}(\.py)?"|^import {0}$'
    assert [n for n in names if not re.search(used.format(n), tests, MULTILINE)] == []


def printed_by(
    name: str, example: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> list[str]:
    example(name).main()
    return sorted(capsys.readouterr().out.splitlines())


@pytest.mark.usefixtures("sandbox")
def test_moving_from_aiohttp_changes_no_result(
    example: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    before = printed_by("before_diga_async", example, capsys)

    assert printed_by("after_diga_async", example, capsys) == before
    assert len(before) == 10


def test_a_cached_phone_is_looked_up_once(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    asyncio.run(example("phone_cache").main())

    assert len(sandbox.requests) == 1


def test_each_key_has_its_own_result(
    sandbox: Sandbox,
    example: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DIGA_API_KEYS", f"sales={sandbox.api_key},support=sk-another")

    sales, support = printed_by("several_keys", example, capsys)

    assert sales == "sales has 9 of 10 phones"
    assert support.startswith("support ended early: AuthenticationError")


@pytest.mark.usefixtures("sandbox")
def test_structlog_writes_the_fields_of_events(
    example: Callable[[str], Any],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    program = example("structlog_logging")
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.getLogger("diga_async"), "level", logging.NOTSET)
    level = logging.root.level

    try:
        asyncio.run(program.main())
    finally:
        logging.root.setLevel(level)

    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    written = [line for line in lines if line["event"] in {"attempt", "lookup"}]
    assert [line["level"] for line in written] == ["debug", "debug"]
    assert [line["phone_id"] for line in written] == [str(KNOWN), str(KNOWN)]


@pytest.fixture
def sqlite_job(sandbox: Sandbox, example: Callable[[str], Any]) -> types.ModuleType:
    module: types.ModuleType = example("sqlite_job")
    with contextlib.closing(sqlite3.connect(module.DATABASE)) as database:
        database.execute(module.SCHEMA)
        ids = [(str(phone_id).upper(),) for phone_id in (*sandbox.phone_ids, UNKNOWN)]
        database.executemany("INSERT INTO phones (phone_id) VALUES (?)", ids)
        database.commit()
    return module


def outcomes_of(job: types.ModuleType) -> list[str | None]:
    with contextlib.closing(sqlite3.connect(job.DATABASE)) as database:
        rows = database.execute("SELECT outcome FROM phones ORDER BY outcome")
        return [outcome for (outcome,) in rows]


def test_the_database_job_fills_each_row(sqlite_job: types.ModuleType) -> None:
    assert sqlite_job.main() == 0
    assert outcomes_of(sqlite_job) == ["found"] * 9 + ["missing"]


def test_the_database_job_looks_up_only_pending_rows(
    sandbox: Sandbox, sqlite_job: types.ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_job, "PAGE", 2)
    sqlite_job.main()
    sandbox.requests.clear()

    assert sqlite_job.main() == 0
    assert sandbox.requests == []


def test_the_database_job_keeps_what_failed_pending(
    sandbox: Sandbox, sqlite_job: types.ModuleType
) -> None:
    sandbox.api_key = "sk-another"

    assert sqlite_job.main() == 2
    assert outcomes_of(sqlite_job) == [None] * 10


def test_a_celery_task_returns_phones(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    task = example("celery_tasks").fetch

    phones = task.apply(args=[[str(KNOWN), str(UNKNOWN)]]).get()

    assert phones[str(KNOWN)]["number"] == sandbox.phones[KNOWN]["number"]
    assert list(phones) == [str(KNOWN)]


async def test_sentry_gets_what_traces_an_error_and_nothing_else(
    sandbox: Sandbox,
) -> None:
    need("sentry_sdk")
    received, log = await run_with_sentry(sandbox)

    (event,) = (event for event in received if "exception" in event)
    assert event["fingerprint"] == ["NotFoundError"]
    assert event["extra"]["status"] == 404
    assert event["extra"]["phone_id"] == str(UNKNOWN)
    text = json.dumps(received, ensure_ascii=False)
    assert sandbox.phones[KNOWN]["number"] not in text
    assert sandbox.api_key not in text
    assert "straight to aiohttp's connections" in log


async def test_sentry_hears_nothing_of_an_outage(sandbox: Sandbox) -> None:
    need("sentry_sdk")
    sandbox.down = True

    received, _ = await run_with_sentry(sandbox)

    assert [event for event in received if "exception" in event] == []


SENTRY_PROGRAM = """
import asyncio, logging, sys
sys.path.insert(0, sys.argv[1])
import sentry_errors
from diga_async import DigaClient, RetryPolicy
DigaClient.__init__.__kwdefaults__["retry"] = RetryPolicy(max_attempts=1)
logging.basicConfig()
logging.getLogger("diga_async").setLevel(logging.INFO)
asyncio.run(sentry_errors.main())
"""


async def run_with_sentry(sandbox: Sandbox) -> tuple[list[dict[str, Any]], str]:
    """Run the example in its own process, because Sentry changes what it runs in."""
    received: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        lines = (await request.read()).splitlines()
        received.extend(json.loads(line) for line in lines)
        return web.json_response({})

    app = web.Application()
    app.router.add_post("/api/1/envelope/", take)
    async with under_aiohttp(app) as url:
        program = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            SENTRY_PROGRAM,
            EXAMPLES,
            env=os.environ | {"SENTRY_DSN": f"{url.replace('//', '//public@')}/1"},
            stderr=asyncio.subprocess.PIPE,
        )
        _, log = await program.communicate()
    assert program.returncode == 0, log
    return received, log.decode()


@pytest.fixture
def lambda_function(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> Iterator[types.ModuleType]:
    module: types.ModuleType = example("lambda_function")
    yield module
    module.runner.run(module.diga.close())
    module.runner.close()


def invoke(function: types.ModuleType, phone_id: UUID | str) -> tuple[int, Any]:
    context = types.SimpleNamespace(get_remaining_time_in_millis=lambda: 3000)
    event = {"pathParameters": {"phone_id": str(phone_id)}}
    response = function.handler(event, context)
    return response["statusCode"], json.loads(response["body"])


def test_the_lambda_function_answers_call_after_call(
    sandbox: Sandbox, lambda_function: types.ModuleType
) -> None:
    number = sandbox.phones[KNOWN]["number"]

    for _ in range(2):
        assert invoke(lambda_function, KNOWN) == (
            200,
            {"number": number, "status": "assigned"},
        )
    assert invoke(lambda_function, UNKNOWN)[0] == 404
    assert invoke(lambda_function, "nope")[0] == 404
    sandbox.api_key = "sk-another"
    assert invoke(lambda_function, KNOWN)[0] == 502


def test_the_lambda_function_answers_before_its_time_is_up(
    sandbox: Sandbox,
    lambda_function: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox.faults = Faults(hangs=1.0)
    monkeypatch.setattr(lambda_function, "MARGIN", 2.9)

    assert invoke(lambda_function, KNOWN)[0] == 503


@pytest.fixture
def many_processes(
    sandbox: Sandbox, example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> types.ModuleType:
    module: types.ModuleType = example("many_processes")
    monkeypatch.setattr(module, "PROCESSES", 2)
    return module


@pytest.mark.parametrize("per_second", [None, 500.0])
def test_each_process_writes_its_share(
    per_second: float | None,
    sandbox: Sandbox,
    many_processes: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(many_processes, "PER_SECOND", per_second)

    assert many_processes.main() == 0

    shares = [
        [json.loads(line)["id"] for line in Path(name).read_text("utf-8").splitlines()]
        for name in ("phones-0.jsonl", "phones-1.jsonl")
    ]
    assert all(shares)
    assert sorted(itertools.chain(*shares)) == sorted(map(str, sandbox.phones))


def test_a_refused_key_in_one_process_ends_the_program(
    sandbox: Sandbox,
    many_processes: types.ModuleType,
    caplog: pytest.LogCaptureFixture,
) -> None:
    sandbox.api_key = "sk-another"

    assert many_processes.main() == 2
    assert "AuthenticationError" in caplog.text


@pytest.fixture
def flask_service(
    sandbox: Sandbox, example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> Iterator[types.ModuleType]:
    module: types.ModuleType = example("flask_service")
    monkeypatch.setattr(atexit, "register", lambda _close: None)
    yield module
    module.phones().close()


@pytest.mark.parametrize(
    ("phone_id", "expected"), [(KNOWN, 200), (UNKNOWN, 404), ("nope", 404)]
)
def test_the_flask_service_answers(
    phone_id: UUID | str, expected: int, flask_service: types.ModuleType
) -> None:
    response = flask_service.app.test_client().get(f"/phones/{phone_id}")

    assert response.status_code == expected


def test_the_flask_service_answers_during_an_outage(
    sandbox: Sandbox, flask_service: types.ModuleType
) -> None:
    sandbox.down = True

    response = flask_service.app.test_client().get(f"/phones/{KNOWN}")

    assert response.status_code == 503


async def test_the_short_fastapi_service_returns_every_field(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    async with under_uvicorn(example("fastapi_short").app) as url:
        status, body = await answer_of(f"{url}/phones/{KNOWN}")

    assert status == 200
    assert body["number"] == sandbox.phones[KNOWN]["number"]
    assert len(body) == 14


async def test_the_short_fastapi_service_can_be_started_again(
    sandbox: Sandbox, example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test suite imports it first, and starts it in each test."""
    monkeypatch.delenv("DIGA_API_KEY")
    app = example("fastapi_short").app
    for key in ("sk-first", "sk-second"):
        sandbox.api_key = key
        monkeypatch.setenv("DIGA_API_KEY", key)
        async with under_uvicorn(app) as url:
            status, _ = await answer_of(f"{url}/phones/{KNOWN}")

        assert status == 200


async def test_the_paging_service_takes_the_cursor_that_it_gave(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    numbers: list[str] = []
    query = "limit=4"
    async with under_uvicorn(example("fastapi_pages").app) as url:
        while query:
            status, body = await answer_of(f"{url}/phones?{query}")
            assert status == 200
            numbers += [phone["number"] for phone in body["phones"]]
            cursor = body["next_cursor"]
            query = cursor and f"limit=4&cursor={cursor}"

    assert sorted(numbers) == sorted(p["number"] for p in sandbox.phones.values())
    assert len(sandbox.requests) == 3


@pytest.mark.parametrize("gone", [200, 404])
@pytest.mark.parametrize(
    ("query", "expected"), [(f"cursor={UNKNOWN}", 410), ("status=sold", 422)]
)
async def test_the_paging_service_says_what_the_caller_can_fix(
    gone: int,
    query: str,
    expected: int,
    sandbox: Sandbox,
    example: Callable[[str], Any],
) -> None:
    sandbox.gone_cursor = gone
    async with under_uvicorn(example("fastapi_pages").app) as url:
        status, _ = await answer_of(f"{url}/phones?{query}")

    assert status == expected


async def test_the_paging_service_hides_what_the_caller_cannot_fix(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    sandbox.api_key = "sk-another"
    async with under_uvicorn(example("fastapi_pages").app) as url:
        status, _ = await answer_of(f"{url}/phones")

    assert status == 502


def test_an_export_needs_few_requests_and_replaces_the_last(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    export = example("nightly_export")

    assert export.main() == 0
    lines = export.EXPORT.read_text(encoding="utf-8").splitlines()
    assert len(lines) == len(sandbox.phones)
    assert len(sandbox.requests) == 2  # a page, and the id that does not exist

    sandbox.api_key = "sk-another"
    assert export.main() == 2
    assert export.EXPORT.read_text(encoding="utf-8").splitlines() == lines


def test_an_id_that_fails_every_night_does_not_stop_the_export(
    sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    export = example("nightly_export")
    ids = export.PHONE_IDS.read_text(encoding="ascii")
    export.PHONE_IDS.write_text(f"teléfono\n{ids}", encoding="utf-8")

    assert export.main() == 1
    assert len(export.EXPORT.read_text(encoding="utf-8").splitlines()) == 9
    (line,) = export.FAILED.read_text(encoding="utf-8").splitlines()
    assert line.startswith("teléfono\tInvalidPhoneIdError(")

    export.PHONE_IDS.write_text(ids, encoding="utf-8")
    assert export.main() == 0
    assert export.FAILED.read_text(encoding="utf-8") == ""
    assert len(export.EXPORT.read_text(encoding="utf-8").splitlines()) == 9


@pytest.fixture
def nightly(example: Callable[[str], Any]) -> types.ModuleType:
    module: types.ModuleType = example("nightly")
    return module


def written() -> list[str]:
    (tonight,) = Path().glob("phones-*.jsonl")
    return tonight.read_text(encoding="utf-8").splitlines(keepends=True)


def test_the_nightly_worker_skips_what_is_written(
    sandbox: Sandbox, nightly: types.ModuleType
) -> None:
    nightly.main()
    before = written()
    assert len(before) == len(sandbox.phones)
    sandbox.requests.clear()

    assert nightly.main() == 0

    # The 404 is the client's first answer, so it asks the listing as well.
    assert [request.phone_id for request in sandbox.requests] == [UNKNOWN, None]
    assert written() == before


def test_the_nightly_worker_repeats_a_torn_line(
    sandbox: Sandbox, nightly: types.ModuleType
) -> None:
    """A machine that crashes may leave half a line."""
    nightly.main()
    before = written()
    (tonight,) = Path().glob("phones-*.jsonl")
    tonight.write_bytes("".join(before).encode()[:-100])
    sandbox.requests.clear()

    assert nightly.main() == 0

    torn = UUID(json.loads(before[-1])["id"])
    assert {request.phone_id for request in sandbox.requests} == {torn, UNKNOWN}
    assert written() == before


def test_the_nightly_worker_says_when_the_key_is_refused(
    sandbox: Sandbox, nightly: types.ModuleType
) -> None:
    sandbox.api_key = "sk-another"

    assert nightly.main() == 2


ERROR_CASES: dict[str, tuple[dict[str, Any], UUID, int]] = {
    "nothing goes wrong": ({}, KNOWN, 200),
    "no such phone": ({}, UNKNOWN, 404),
    "the server is away": ({"down": True}, KNOWN, 503),
    "the server throttles": ({"per_second": 0.001, "burst": 0}, KNOWN, 503),
    "the server fails": ({"faults": Faults(errors=1.0)}, KNOWN, 503),
    "no phone comes back": ({"faults": Faults(garbage=1.0)}, KNOWN, 502),
    "the key is refused": ({"api_key": "sk-another"}, KNOWN, 502),
    "the key lacks its permission": ({"faults": Faults(forbidden=1.0)}, KNOWN, 502),
}


@attrs.frozen
class Case:
    """
    A fault of the sandbox, and the response of a service to it.

    Attributes:
        phone_id: The id to look up, twice: the first time may still succeed.
        expected: The status that a service returns.
    """

    phone_id: UUID
    expected: int


@pytest.fixture(params=ERROR_CASES)
def case(
    request: pytest.FixtureRequest, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> Case:
    """Make the sandbox fail, and the clients of examples not retry."""
    settings, phone_id, expected = ERROR_CASES[request.param]
    for name, value in settings.items():
        setattr(sandbox, name, value)
    once = RetryPolicy(max_attempts=1)
    monkeypatch.setitem(DigaClient.__init__.__kwdefaults__ or {}, "retry", once)
    return Case(phone_id, expected)


async def answer_of(url: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        is_json = response.content_type == "application/json"
        return response.status, await (response.json() if is_json else response.text())


@contextlib.asynccontextmanager
async def under_uvicorn(app: Any) -> AsyncIterator[str]:
    """Serve with uvicorn, on a free port."""
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
    """Serve as `aiohttp.web.run_app` does, on a free port."""
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


async def test_the_services_answer_every_error(
    case: Case, sandbox: Sandbox, example: Callable[[str], Any]
) -> None:
    for service in services(example):
        async with service as url:
            await answer_of(f"{url}/phones/{case.phone_id}")
            status, body = await answer_of(f"{url}/phones/{case.phone_id}")

        assert status == case.expected
        if status == 200:
            number = sandbox.phones[case.phone_id]["number"]
            assert body == {"number": number, "status": "assigned"}


async def test_the_services_say_when_diga_does_not_answer(
    sandbox: Sandbox,
    example: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sandbox.faults = Faults(hangs=1.0)
    statuses = []

    def hurried(name: str) -> Any:
        service = example(name)
        monkeypatch.setattr(service, "DigaClient", lambda **_: DigaClient(timeouts=0.1))
        return service

    for service in services(hurried):
        async with service as url:
            statuses.append((await answer_of(f"{url}/phones/{KNOWN}"))[0])

    assert statuses == [504, 504]


async def test_the_services_reject_an_invalid_id(
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


class BotAPI:
    """
    The part of Telegram's Bot API that a polling bot needs.

    Attributes:
        messages: Messages of users; the bot receives them once, and then waits.
        said: The bot's answers.
        failures: The statuses that the next answers are refused with.
        waits: Set while the bot waits for more messages.
        answered: Set when every message has an answer.
    """

    def __init__(self, *messages: str) -> None:
        self.messages = messages
        self.said: list[str] = []
        self.failures: list[int] = []
        self.waits = asyncio.Event()
        self.answered = asyncio.Event()
        self.gone = asyncio.Event()
        self.app = web.Application()
        for method in (self.getMe, self.getUpdates, self.sendMessage):
            self.app.router.add_post(f"/bot42:token/{method.__name__}", method)

    async def getMe(self, _request: web.Request) -> web.Response:  # noqa: N802
        bot = {"id": 42, "is_bot": True, "first_name": "Bot", "username": "a_bot"}
        return self._result(bot)

    async def getUpdates(self, request: web.Request) -> web.Response:  # noqa: N802
        if "offset" not in await request.post():
            return self._result(
                [
                    {"update_id": n, "message": self._message(n, words)}
                    for n, words in enumerate(self.messages)
                ]
            )
        self.waits.set()
        await self.gone.wait()
        return self._result([])

    async def sendMessage(self, request: web.Request) -> web.Response:  # noqa: N802
        words = str((await request.post())["text"])
        if self.failures:
            status = self.failures.pop(0)
            body = {"ok": False, "error_code": status, "description": "no"}
            return web.json_response(body, status=status)
        self.said.append(words)
        if len(self.said) == len(self.messages):
            self.answered.set()
        return self._result(self._message(99, words))

    @classmethod
    def command(cls, number: int, words: str) -> dict[str, Any]:
        """Return a message whose first word is marked as a command."""
        length = len(words.partition(" ")[0])
        entity = {"type": "bot_command", "offset": 0, "length": length}
        return cls._message(number, words) | {"entities": [entity]}

    @staticmethod
    def _message(number: int, words: str) -> dict[str, Any]:
        chat = {"id": 1, "type": "private"}
        return {"message_id": number, "date": 0, "chat": chat, "text": words}

    @staticmethod
    def _result(result: Any) -> web.Response:
        return web.json_response({"ok": True, "result": result})


@contextlib.asynccontextmanager
async def polling(
    api: BotAPI, bot: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[None]:
    """Run the bot's own `main` at another address; stop it as systemd would."""
    from aiogram.client.session.aiohttp import AiohttpSession  # noqa: PLC0415
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415

    monkeypatch.setenv("BOT_TOKEN", "42:token")
    async with under_aiohttp(api.app) as url:
        session = AiohttpSession(api=TelegramAPIServer.from_base(url))
        monkeypatch.setattr(bot, "Bot", functools.partial(bot.Bot, session=session))
        running = asyncio.create_task(bot.main())
        try:
            async with asyncio.timeout(10):
                yield
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await running
            api.gone.set()


@pytest.mark.usefixtures("sandbox")
async def test_the_telegram_bot_answers(
    example: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Real aiogram polls a Bot API over HTTP, and dispatches."""
    need("aiogram")
    api = BotAPI(f"/phone {KNOWN}", "/phone", "/phone x", f"/phone {UNKNOWN}")

    async with polling(api, example("aiogram_bot"), monkeypatch):
        await api.answered.wait()

    assert sorted(api.said) == [
        "Recepción Cádiz is assigned.",
        "There is no such phone.",
        "Usage: /phone and the id of a phone.",
        "Usage: /phone and the id of a phone.",
    ]
    assert [r for r in caplog.records if r.levelno > logging.WARNING] == []


async def test_a_telegram_bot_that_stops_during_a_lookup_sends_nothing(
    sandbox: Sandbox,
    example: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its session is closed by then: an answer would log a traceback."""
    need("aiogram")
    sandbox.faults = Faults(hangs=1.0)
    api = BotAPI(f"/phone {KNOWN}")

    async with polling(api, example("aiogram_bot"), monkeypatch):
        await api.waits.wait()
        while not sandbox.requests:  # noqa: ASYNC110 - a list of another thread's
            await asyncio.sleep(0)

    assert api.said == []
    assert [r for r in caplog.records if r.levelno > logging.WARNING] == []


WORDS = {
    200: "Recepción",
    404: "There is no",
    502: "Something went wrong",
    503: "Diga is not available",
}


LEVELS = {200: None, 404: None, 502: "ERROR", 503: "WARNING"}


def logged(caplog: pytest.LogCaptureFixture, name: str) -> str | None:
    """Return the level of the last log record, if there is one."""
    levels = [record.levelname for record in caplog.records if record.name == name]
    return levels[-1] if levels else None


async def test_the_telegram_bot_has_words_for_every_error(
    case: Case,
    example: Callable[[str], Any],
    caplog: pytest.LogCaptureFixture,
) -> None:
    need("aiogram")
    bot = example("aiogram_bot")
    async with DigaClient() as diga:
        said = [await bot.status_of(diga, str(case.phone_id)) for _ in range(2)]

    assert said[-1].startswith(WORDS[case.expected])
    assert logged(caplog, "bot") == LEVELS[case.expected]


@contextlib.asynccontextmanager
async def telegram_application(
    api: BotAPI, bot: Any, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Any]:
    """Start the application at another address, as its `run_polling` does."""
    from telegram.ext import Application, ApplicationBuilder  # noqa: PLC0415

    async with under_aiohttp(api.app) as url:
        builder = ApplicationBuilder().base_url(f"{url}/bot")
        monkeypatch.setattr(Application, "builder", lambda: builder)
        application = bot.make_application("42:token")
        async with application:
            await application.post_init(application)
            yield application
        await application.post_shutdown(application)


async def test_the_bot_of_python_telegram_bot_answers_and_closes_its_client(
    case: Case,
    example: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    need("telegram")
    from telegram import Update  # noqa: PLC0415

    bot, api = example("telegram_bot"), BotAPI()
    words = ("/phone", "/phone x", *[f"/phone {case.phone_id}"] * 2)

    async with telegram_application(api, bot, monkeypatch) as application:
        diga = application.bot_data["diga"]
        for number, text in enumerate(words):
            message = api.command(number, text)
            update = {"update_id": number, "message": message}
            await application.process_update(Update.de_json(update, application.bot))

    assert api.said[:2] == ["Usage: /phone and the id of a phone."] * 2
    assert api.said[3].startswith(WORDS[case.expected])
    assert logged(caplog, "bot") == LEVELS[case.expected]
    assert diga.closed


async def test_the_waiting_bot_answers_when_the_number_is_ready(
    sandbox: Sandbox,
    example: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("aiogram")
    bot = example("waiting_bot")
    monkeypatch.setattr(bot, "EVERY", 0.01)
    sandbox.change(KNOWN, status="reserved", nickname="Front desk")
    api = BotAPI(f"/wait {KNOWN}", f"/wait {UNKNOWN}")

    async with polling(api, bot, monkeypatch):
        await until(lambda: api.said == ["There is no such phone."])
        sandbox.change(KNOWN, status="assigned")
        await api.answered.wait()

    assert api.said[1:] == ["Front desk is ready."]


async def until(is_so: Callable[[], bool]) -> None:
    """Wait for what another thread or process does."""
    async with asyncio.timeout(30):
        while not is_so():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@pytest.fixture
async def watch_bot(
    example: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[Any, BotAPI]]:
    """Run the bot that watches at a Bot API of our own."""
    pytest.importorskip("aiogram")
    from aiogram.client.session.aiohttp import AiohttpSession  # noqa: PLC0415
    from aiogram.client.telegram import TelegramAPIServer  # noqa: PLC0415

    bot, api = example("aiogram_watch"), BotAPI()
    make = bot.Bot

    async with under_aiohttp(api.app) as url:

        def at_our_address(token: str) -> Any:
            server = TelegramAPIServer.from_base(url)
            return make(token, session=AiohttpSession(api=server))

        monkeypatch.setattr(bot, "Bot", at_our_address)
        monkeypatch.setattr(bot, "EVERY", 0.02)
        monkeypatch.setattr(bot, "PAUSE", 0.01)
        monkeypatch.setenv("BOT_TOKEN", "42:token")
        monkeypatch.setenv("CHAT_ID", "1")
        yield bot, api


@contextlib.asynccontextmanager
async def running(coroutine: Any) -> AsyncIterator[None]:
    task = asyncio.create_task(coroutine)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled(), task.exception()


async def test_the_watching_bot_tells_its_chat_what_happens_to_numbers(
    sandbox: Sandbox, watch_bot: tuple[Any, BotAPI]
) -> None:
    bot, api = watch_bot
    first, second = sandbox.phone_ids[:2]
    sandbox.change(first, status="pending_verification", nickname="Sales")
    sandbox.change(second, nickname="Support", scheduled_release_at=None)

    async with running(bot.main()):
        await until(bot.STATE.exists)
        sandbox.change(first, status="assigned")
        await until(lambda: len(api.said) == 1)
        sandbox.change(second, scheduled_release_at="2030-05-01T00:00:00Z")
        sandbox.change(second, inbound_agent_id=None)
        await until(lambda: len(api.said) == 2)

    assert api.said == [
        "Sales is verified.",
        "Support will be released on 01 May 2030.",
    ]


async def test_the_watching_bot_tells_after_a_restart_what_happened_meanwhile(
    sandbox: Sandbox, watch_bot: tuple[Any, BotAPI]
) -> None:
    bot, api = watch_bot
    first = sandbox.phone_ids[0]
    sandbox.change(first, status="pending_verification", nickname="Sales")

    async with running(bot.main()):
        await until(bot.STATE.exists)
    sandbox.change(first, status="assigned")
    async with running(bot.main()):
        await until(lambda: bool(api.said))

    assert api.said == ["Sales is verified."]


async def test_the_watching_bot_sends_again_what_telegram_did_not_take(
    sandbox: Sandbox, watch_bot: tuple[Any, BotAPI]
) -> None:
    bot, api = watch_bot
    sandbox.change(KNOWN, status="pending_verification", nickname="Sales")
    api.failures = [500, 502]

    async with running(bot.main()):
        await until(bot.STATE.exists)
        sandbox.change(KNOWN, status="assigned")
        await until(lambda: bool(api.said))

    assert api.said == ["Sales is verified."]
    assert api.failures == []


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import sqlite_watch
sqlite_watch.EVERY = 0.05
sys.exit(sqlite_watch.main())
"""


def table() -> dict[str, Any]:
    """Return the records in the table of the example, by id."""
    uri = f"{Path('phones.sqlite3').resolve().as_uri()}?mode=ro"
    try:
        with contextlib.closing(sqlite3.connect(uri, uri=True)) as database:
            rows = database.execute("SELECT phone_id, record FROM phones")
            return {phone_id: json.loads(record) for phone_id, record in rows}
    except sqlite3.OperationalError:  # not made yet
        return {}


def served(sandbox: Sandbox) -> dict[str, Any]:
    phones = map(Phone.from_dict, sandbox.phones.values())
    return {str(phone.id): phone.to_dict() for phone in phones}


async def test_the_table_is_kept_up_to_date_across_kill_9(sandbox: Sandbox) -> None:
    chance = random.Random(9)  # noqa: S311 - repeatable on purpose
    for waits in (0, 1, 2, 3, None):
        program = await asyncio.create_subprocess_exec(
            sys.executable, "-c", PROGRAM, EXAMPLES
        )
        try:
            await until(lambda: table() == served(sandbox))
            if waits is None:
                break
            for _ in range(20):
                alter(sandbox, chance)
            seen = len(sandbox.requests) + waits
            await until(lambda seen=seen: len(sandbox.requests) >= seen)  # type: ignore[misc]
        finally:
            program.kill()
            await program.wait()
    assert program.returncode == -signal.SIGKILL


def alter(sandbox: Sandbox, chance: random.Random) -> None:
    """Change, add or remove some phone; a finished one never changes."""
    phone_id = chance.choice(
        [i for i, phone in sandbox.phones.items() if phone["status"] != "finished"]
    )
    match chance.randrange(4):
        case 0:
            sandbox.add()
        case 1 if len(sandbox.phones) > 4:
            sandbox.remove(phone_id)
        case _:
            sandbox.change(phone_id, nickname=chance.choice("abcdef"))


@pytest.fixture
def discord_cog(example: Callable[[str], Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of audioop, on 3.12
        return example("discord_cog")


class Chat:
    """The context of a command: it records the answers."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def send(self, words: str) -> None:
        self.said.append(words)


# discord.py asks asyncio, whose function is deprecated since 3.14.
of_discord = pytest.mark.filterwarnings(
    "ignore:'asyncio.iscoroutinefunction':DeprecationWarning"
)


@of_discord
async def test_the_discord_bot_answers_and_closes_what_its_cog_opened(
    sandbox: Sandbox, discord_cog: Any
) -> None:
    chat = Chat()
    bot = discord_cog.make_bot()
    await bot.setup_hook()
    cog = bot.get_cog("Phones")

    for phone_id in (str(KNOWN), str(UNKNOWN), "nope", ""):
        await bot.get_command("phone").callback(cog, chat, phone_id)
    await bot.close()

    assert chat.said == [
        "Recepción Cádiz is assigned.",
        "There is no such phone.",
        "Usage: !phone and the id of a phone.",
        "Usage: !phone and the id of a phone.",
    ]
    assert cog.diga.closed


@of_discord
async def test_the_discord_bot_has_words_for_every_error(
    case: Case,
    discord_cog: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    chat, cog = Chat(), discord_cog.Phones()
    for _ in range(2):
        await cog.phone.callback(cog, chat, str(case.phone_id))
    await cog.cog_unload()
    await cog.phone.callback(cog, chat, str(case.phone_id))  # now it says nothing

    _, said = chat.said
    assert said.startswith(WORDS[case.expected])
    assert logged(caplog, "bot") == LEVELS[case.expected]


@pytest.mark.parametrize(
    ("tested", "needed", "passed"),
    [
        ("short", None, 1),
        ("greeting", None, 4),
        ("aiogram_bot", "aiogram", 4),
        ("discord_cog", "discord", 4),
        ("waiting_bot", "aiogram", 4),
    ],
)
def test_the_tests_on_pages_pass(
    tested: str,
    needed: str | None,
    passed: int,
    pytester: pytest.Pytester,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if needed:
        need(needed)
    for name in (tested, f"test_{tested}"):
        path = EXAMPLES / f"{name}.py"
        if path.exists():
            pytester.makepyfile(**{name: path.read_text(encoding="utf-8")})
        monkeypatch.delitem(sys.modules, name, raising=False)
    pytester.syspathinsert()

    result = pytester.runpytest_inprocess(
        "-o", "asyncio_default_fixture_loop_scope=function", "-p", "no:hypothesispytest"
    )

    result.assert_outcomes(passed=passed)


def claims_of(page: Path) -> list[str]:
    """Return the names of tests in a page: in italics, with spaces."""
    text = page.read_text(encoding="utf-8")
    return re.findall(r"(?<!\*)\*([a-z0-9][^*\n]+)\*(?!\*)", text)


@pytest.mark.parametrize("name", ["reliability", "attacks"])
def test_the_tests_that_a_page_names_exist(name: str) -> None:
    claims = claims_of(DOCS / "project" / f"{name}.md")
    tests = "".join(
        path.read_text(encoding="utf-8") for path in ROOT.glob("tests/**/test_*.py")
    )

    missing = [c for c in claims if f"def test_{c.replace(' ', '_')}(" not in tests]

    assert missing == []
    assert len(claims) >= 40


def test_every_promise_has_its_row_and_no_cell_is_empty() -> None:
    page = (DOCS / "project" / "reliability.md").read_text(encoding="utf-8")
    (table,) = (body for kind, body in FENCE.findall(page) if kind == "{eval-rst}")
    _, _, *rows = re.split(r"^   \* - ", table, flags=MULTILINE)
    cells = [re.split(r"^     - ", row, flags=MULTILINE) for row in rows]

    assert [number.strip() for number, *_ in cells] == [str(n) for n in range(1, 21)]
    assert [row for row in cells if len(row) != 4 or not all(map(str.strip, row))] == []
    assert [number for number, *_, tests in cells if "*" not in tests] == []


def options_of(command: Any) -> Iterator[str]:
    for parameter in command.params:
        yield from (name for name in parameter.opts if name.startswith("--"))
    for below in getattr(command, "commands", {}).values():
        yield from options_of(below)


def test_every_option_of_the_command_line_is_in_the_reference() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text(encoding="utf-8")
    options = set(options_of(diga_async._cli.app.diga))

    assert sorted(o for o in options if f"`{o}" not in page) == []
    assert len(options) > 10


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.*)\n", page.read_text(encoding="utf-8"), flags=MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize(
    ("section", "ending"),
    [("Try it", ["diga", "demo"]), ("Test it", ["-m", "pytest", "-n", "2"])],
)
def test_the_readme_has_one_command_to_paste(section: str, ending: list[str]) -> None:
    fences = FENCE.findall(sections(ROOT / "README.md")[section])

    assert [kind for kind, _ in fences] == ["sh"]
    (command,) = fences[0][1].splitlines()
    words = shlex.split(command.replace("/diga ", "/ diga "))
    assert words[-len(ending) :] == ending
    assert words[:3] == ["python3", "-m", "venv"]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 100


def test_the_readme_and_the_front_page_show_one_program() -> None:
    readme, front = (
        next(blocks_of(p)) for p in (ROOT / "README.md", DOCS / "index.md")
    )

    assert (readme.source, readme.expected) == (front.source, front.expected)


def test_the_figures_of_the_front_pages_are_measured() -> None:
    """The chart of the README has the figures of the page that measures them."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    page = (DOCS / "explanation" / "performance.md").read_text(encoding="utf-8")
    chart = re.findall(r"^(\w.*?) +([\d.]+) █+$", readme, MULTILINE)

    assert len(chart) == 3
    front = (DOCS / "index.md").read_text(encoding="utf-8")
    assert f"**{chart[0][1]}** of the CPU" in front
    for name, ratio in chart:
        row = rf"^\| {name.replace('iter_many', '`iter_many`')} \| {ratio} \("
        assert re.search(row, page, MULTILINE), name


def test_the_front_pages_agree_with_the_page_of_the_rate_limiter() -> None:
    page = (DOCS / "explanation" / "rate-limiter.md").read_text(encoding="utf-8")
    throttled = re.findall(
        r"^\| the same \| 10,000 \|.* ([\d.]+ %) \|$", page, MULTILINE
    )
    memory = re.findall(r"^\| a million ids .* \| ([\d.]+ MiB) at", page, MULTILINE)

    for front in (ROOT / "README.md", DOCS / "index.md"):
        text = front.read_text(encoding="utf-8").replace("**", "")
        for (figure,) in (throttled, memory):
            assert figure in text


def test_the_readme_counts_the_attacks() -> None:
    attacks = (DOCS / "project" / "attacks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \|", attacks, MULTILINE)

    assert rows == [str(n) for n in range(1, len(rows) + 1)]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"[{len(rows)} attacks](docs/project/attacks.md)" in readme


PROSE = [*PAGES, ROOT / "CHANGELOG.md", ROOT / ".github" / "CONTRIBUTING.md"]


def anchors_of(page: Path) -> set[str]:
    """Return the anchors of a page's headings, made as GitHub and MyST make them."""
    headings = HEADING.findall(FENCE.sub("", page.read_text(encoding="utf-8")))
    return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in headings}


def leads_somewhere(page: Path, link: str) -> bool:
    """Whether a local link resolves; of an external one only the form is checked."""
    url = urlsplit(link)
    if url.scheme:
        return url.scheme == "https" and "." in url.netloc
    target = page.parent / url.path if url.path else page
    return target.exists() and (not url.fragment or url.fragment in anchors_of(target))


@pytest.mark.parametrize("page", PROSE, ids=title)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    links = [inline or below for inline, below in LINK.findall(text)]

    assert [link for link in links if not leads_somewhere(page, link)] == []


def test_links_are_checked_to_the_anchor() -> None:
    page = DOCS / "how-to" / "errors.md"

    assert leads_somewhere(page, "bulk.md#when-a-run-ends-early")
    assert leads_somewhere(page, "../reference/command-line.md#diga-sandbox")
    assert not leads_somewhere(page, "bulk.md#nothing-of-the-kind")
    assert not leads_somewhere(page, "http://example.org")


@pytest.mark.parametrize("folder", ["how-to", "explanation", "project"])
def test_an_index_says_what_each_page_is_for(folder: str) -> None:
    index = (DOCS / folder / "index.md").read_text(encoding="utf-8")
    pages = {path.name for path in (DOCS / folder).glob("*.md")} - {"index.md"}
    described = re.findall(r"^\[[^]]+\]\(([\w-]+\.md)\)\n: ", index, MULTILINE)

    assert set(described) == pages


KINDS = {"console", "docker", "json", "python", "sh", "text", "yaml"}
DIRECTIVES = {
    "{drawing}",
    "{eval-rst}",
    "{include}",
    "{literalinclude}",
    "{packages}",
    "{toctree}",
}


def test_every_block_is_of_a_kind_that_is_run_or_checked() -> None:
    """A block marked ``py`` would look like Python, and never run."""
    kinds = {
        (title(page), kind.partition(" ")[0])
        for page in PROSE
        for kind, _ in FENCE.findall(page.read_text(encoding="utf-8"))
    }

    assert {found for found in kinds if found[1] not in KINDS | DIRECTIVES} == set()


def typed() -> Iterator[list[str]]:
    """Yield the arguments of every `diga` command on a page."""
    for page in PAGES:
        for kind, body in FENCE.findall(page.read_text(encoding="utf-8")):
            for line in body.splitlines() if kind == "console" else ():
                for part in re.split(r"[|>]", line.removeprefix("$ ")):
                    words = shlex.split(part)
                    if words[:1] == ["diga"]:
                        yield words[1:]


@pytest.mark.parametrize("arguments", list(typed()), ids=" ".join)
def test_a_command_that_a_page_shows_can_be_typed(arguments: list[str]) -> None:
    command: Any = diga_async._cli.app.diga
    while arguments and arguments[0] in getattr(command, "commands", {}):
        command = command.commands[arguments[0]]
        arguments = arguments[1:]

    context = rich_click.Context(command)

    command.make_parser(context).parse_args(list(arguments))


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join(
        page.read_text(encoding="utf-8") for page in (DOCS / "reference").glob("*.md")
    )
    shown = set(re.findall(r":: (\w+)(?:\(\))?$", pages, MULTILINE))

    names = {*diga_async.__all__, *diga_async.sandbox.__all__} - {"__version__"}
    assert sorted(names - shown) == []


def test_the_changelog_knows_this_version() -> None:
    """Newest first, *Unreleased* above it, and each heading is a link."""
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, MULTILINE)
    names = [name.partition(" - ")[0] for name in headings]

    assert names[:2] == ["[Unreleased]", f"[{diga_async.__version__}]"]
    assert [name for name in names if f"\n{name}: https://" not in text] == []


def test_the_demo_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("diga_async._cli.demo.LOOKUPS", 100)
    path = DOCS / "draw_demo.py"
    spec = importlib.util.spec_from_file_location("draw_demo", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    wide, tall = module.draw().values()

    for svg in (wide, tall):
        assert "100&#160;lookups" in svg
        assert "https://" not in svg
        assert ">status" in svg
    assert ">nickname" in wide
    assert ">nickname" not in tall
