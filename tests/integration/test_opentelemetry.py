"""OpenTelemetry's instrumentation of aiohttp, with a client unaware of it."""

import os
import re
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web
from fakes import phone_fields

from diga_async import DigaClient, DigaError, RetryPolicy
from diga_async.sandbox import Faults, Sandbox

pytest.importorskip("opentelemetry.sdk", reason="needs opentelemetry-sdk")
instrumentation = pytest.importorskip(
    "opentelemetry.instrumentation.aiohttp_client",
    reason="needs opentelemetry-instrumentation-aiohttp-client",
)

from opentelemetry.sdk.trace import TracerProvider  # noqa: E402 - if it is there
from opentelemetry.sdk.trace.export import SimpleSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
KNOWN = UUID("3c90c3cc-0d44-4b50-8888-8dd25736052a")
CAPTURE = "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS"
AT_ONCE = RetryPolicy(base_delay=1e-6)


@pytest.fixture
def exporter():
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter):
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


@pytest.fixture
def instrument(provider):
    """Instrument every session made from now on, as programs do."""
    instrumentor = instrumentation.AioHttpClientInstrumentor()

    def instrument():
        instrumentor.instrument(tracer_provider=provider)

    yield instrument
    instrumentor.uninstrument()


@pytest.fixture(params=["instrument()", "trace_configs"])
def options(request, provider):
    """The client's arguments for each of the two ways to instrument it."""
    if request.param == "trace_configs":
        config = instrumentation.create_trace_config(tracer_provider=provider)
        return {"trace_configs": [config]}
    request.getfixturevalue("instrument")()
    return {}


async def test_every_request_is_a_span_of_its_caller(options, provider, exporter):
    """Even requests that other tasks send, such as the workers of a run."""
    tracer = provider.get_tracer("test")
    async with (
        Sandbox(phones=20, faults=Faults(errors=0.3)) as sandbox,
        DigaClient(
            sandbox.api_key, base_url=sandbox.url, retry=AT_ONCE, **options
        ) as diga,
    ):
        with tracer.start_as_current_span("get") as one:
            await diga.phones.get(sandbox.phone_ids[0])
        with tracer.start_as_current_span("get_many") as many:
            await diga.phones.get_many(sandbox.phone_ids[1:])

    spans = [s for s in exporter.get_finished_spans() if s.name == "GET"]
    callers = {s.get_span_context().span_id: s for s in (one, many)}
    first, *others = [callers[span.parent.span_id] for span in spans]
    assert first is one
    assert others[-1] is many
    assert sorted(span.attributes["http.status_code"] for span in spans) == sorted(
        request.status for request in sandbox.requests
    )
    assert {span.attributes["http.url"] for span in spans} == {
        f"{sandbox.url}/v1/phone/{phone_id}" for phone_id in sandbox.phone_ids
    }


async def test_a_client_with_a_lent_session_is_traced_too(instrument, exporter):
    """The session that was lent may be older than the instrumentation."""
    async with aiohttp.ClientSession() as session, Sandbox(phones=1) as sandbox:
        instrument()
        async with DigaClient(
            sandbox.api_key, base_url=sandbox.url, session=session
        ) as diga:
            await diga.phones.get(sandbox.phone_ids[0])

    (span,) = exporter.get_finished_spans()
    assert span.attributes["http.status_code"] == 200


@pytest.mark.parametrize(
    "faults",
    [
        Faults(),
        Faults(errors=1.0),
        Faults(resets=1.0),
        Faults(truncated=1.0),
        Faults(garbage=1.0),
        Faults(forbidden=1.0),
    ],
    ids=["none", "errors", "resets", "truncated", "garbage", "forbidden"],
)
async def test_the_key_is_in_no_span(options, exporter, faults):
    """Nor in the message and the traceback that a span keeps of an exception."""
    async with (
        Sandbox(phones=3, faults=faults) as sandbox,
        DigaClient(
            sandbox.api_key, base_url=sandbox.url, retry=AT_ONCE, **options
        ) as diga,
    ):
        for phone_id in sandbox.phone_ids:
            with suppress(DigaError):
                await diga.phones.get(phone_id)

    spans = exporter.get_finished_spans()
    assert spans
    assert [s for s in spans if sandbox.api_key in s.to_json()] == []


async def test_headers_that_are_captured_can_leave_the_key_out(
    monkeypatch, instrument, exporter
):
    """The user names the headers to redact."""
    monkeypatch.setenv(f"{CAPTURE}_CLIENT_REQUEST", ".*")
    monkeypatch.setenv(f"{CAPTURE}_SANITIZE_FIELDS", "authorization")
    instrument()
    async with (
        Sandbox(phones=1) as sandbox,
        DigaClient(sandbox.api_key, base_url=sandbox.url) as diga,
    ):
        await diga.phones.get(sandbox.phone_ids[0])

    (span,) = exporter.get_finished_spans()
    header = "http.request.header.authorization"
    assert span.attributes[header] == ("[REDACTED]",)
    assert sandbox.api_key not in span.to_json()


async def test_the_server_gets_the_trace_header(options, provider, exporter):
    seen = []

    async def answer(request):
        seen.append(request.headers["traceparent"])
        return web.json_response(phone_fields(KNOWN))

    app = web.Application()
    app.router.add_get("/v1/phone/{phone_id}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    async with DigaClient("sk-1", base_url=url, **options) as diga:
        with provider.get_tracer("test").start_as_current_span("caller") as caller:
            await diga.phones.get_many([KNOWN])
    await runner.cleanup()

    (span,) = [s for s in exporter.get_finished_spans() if s.name == "GET"]
    (told,) = seen
    _version, trace, parent, _flags = told.split("-")
    assert int(trace, 16) == caller.get_span_context().trace_id
    assert int(parent, 16) == span.get_span_context().span_id


def test_the_example_prints_a_span_in_a_span():
    with Sandbox(phones=1) as sandbox:
        (record,) = sandbox.phones.values()
        sandbox.phones[KNOWN] = record | {"id": str(KNOWN)}
        environment = {"DIGA_API_KEY": sandbox.api_key, "DIGA_BASE_URL": sandbox.url}
        printed = subprocess.run(
            [sys.executable, EXAMPLES / "traces.py"],
            env=os.environ | environment,
            capture_output=True,
            encoding="utf-8",
            check=True,
        ).stdout

    assert re.findall('"name": "(.*)"', printed) == [
        "GET",
        "show the phone",
    ]
    assert sandbox.api_key not in printed
