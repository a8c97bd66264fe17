"""
Trace every request with OpenTelemetry's instrumentation of aiohttp.

It needs opentelemetry-sdk and opentelemetry-instrumentation-aiohttp-client.
"""

import asyncio

from opentelemetry.instrumentation.aiohttp_client import AioHttpClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor

from diga_async import DigaClient

provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter()))
tracer = provider.get_tracer("phones")


async def main() -> None:
    async with DigaClient() as diga:
        with tracer.start_as_current_span("show the phone"):
            phone = await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
    print(phone.number)


if __name__ == "__main__":
    AioHttpClientInstrumentor().instrument(tracer_provider=provider)
    asyncio.run(main())
