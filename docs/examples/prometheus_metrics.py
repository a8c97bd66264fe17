"""Count attempts and lookups for Prometheus."""

import asyncio

from prometheus_client import REGISTRY, Counter, Gauge, Histogram, generate_latest

from diga_async import AttemptEvent, DigaClient, Event

attempts = Counter("diga_attempts", "Requests sent to Diga.", ["answer"])
seconds = Histogram("diga_attempt_seconds", "Time until Diga answered.")
waited = Histogram("diga_wait_seconds", "Time a request waited in the client.")
rate = Gauge("diga_rate_per_second", "The rate limiter's rate; 0 if there is none.")
lookups = Counter("diga_lookups", "Phones looked up.", ["outcome", "error"])


def count(event: Event) -> None:
    if isinstance(event, AttemptEvent):
        attempts.labels(event.answer).inc()
        seconds.observe(event.elapsed)
        waited.observe(event.waited)
        rate.set(event.rate or 0.0)
    else:
        lookups.labels(event.outcome, event.error or "").inc()


async def main() -> None:
    async with DigaClient(on_event=count) as diga:
        await diga.phones.get("3c90c3cc-0d44-4b50-8888-8dd25736052a")
    print(generate_latest(REGISTRY).decode())  # a service calls start_http_server


if __name__ == "__main__":
    asyncio.run(main())
