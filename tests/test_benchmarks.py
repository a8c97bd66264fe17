"""The benchmarks still run; their figures are another matter."""

import asyncio
import importlib
import json
import socket
import statistics
import sys
from contextlib import nullcontext
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen
from uuid import UUID

import attrs
import pytest
from byte_server import reset_when_closed
from fakes import PHONE_ID
from foreign import published

from diga_async._models import decoding

FOLDER = Path(__file__).parent / "benchmarks"
PAGE = FOLDER.parents[1] / "docs" / "explanation" / "performance.md"


@pytest.fixture(scope="module")
def bench():
    """Import a benchmark as the module it is, and forget it afterwards."""
    known = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FOLDER)
        yield importlib.import_module
    for name in {path.stem for path in FOLDER.glob("*.py")} - known:
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def url(bench):
    with bench("servers").small() as url:
        yield url


def test_the_small_server_survives_a_reset(url):
    address = (urlsplit(url).hostname, urlsplit(url).port)
    with socket.create_connection(address) as leaving:
        reset_when_closed(leaving)

    with urlopen(f"{url}/v1/phone/{PHONE_ID}") as answer:  # noqa: S310 - loopback's
        assert json.load(answer)["id"] == PHONE_ID


@pytest.fixture
def limits(bench):
    return bench("limits")


def test_a_row_of_limits_is_measured(limits, monkeypatch):
    row = attrs.evolve(limits.ROWS["free"], ids=100, clients=2)
    monkeypatch.setitem(limits.ROWS, "free", row)

    figures = limits.measure("free")

    assert (figures["ids"], figures["lost"], figures["refused"]) == (100, 0, 0.0)


def test_every_row_has_a_server(limits):
    for row in limits.ROWS.values():
        assert isinstance(row.server, dict) or hasattr(row.server(), "ask")


def test_the_picture_is_an_svg(limits):
    for name in limits.PICTURES:
        assert limits.svg(name, [100, 200, 50]).startswith("<svg")


async def test_lookups_by_listing_are_measured_beside_those_by_id(
    bench, monkeypatch, capsys
):
    listing = bench("listing")
    monkeypatch.setattr(listing, "PHONES", 150)

    await listing.cpu()
    await listing.memory()

    printed = capsys.readouterr().out
    assert printed.count("us a phone") == 4
    assert printed.count("bytes kept") == 2


@pytest.mark.parametrize("name", ["runs", "cluster", "limiter"])
def test_the_benchmarks_can_be_imported(name, bench):
    assert callable(bench(name).main)


# --- compare


CONTENDERS = (
    "ours",
    "ours_without_end",
    "ours_afresh",
    "ours_one_by_one",
    "ours_with_orjson",
    "tuned",
    "tuned_with_a_turn",
    "written",
    "bare",
    "floor",
)


@pytest.mark.parametrize("name", CONTENDERS)
async def test_every_contender_finds_its_phones(name, bench, url, monkeypatch):
    if name == "ours_with_orjson":
        pytest.importorskip("orjson")
        monkeypatch.setattr(decoding, "_document", decoding._document)
    contender = getattr(bench("contenders"), name)

    async with contender(url, 2) as run:
        assert await run([UUID(int=number) for number in range(5)]) == 5
        assert await run([UUID(int=7)]) == 1


def test_contenders_are_compared_turn_by_turn(bench, url, capsys):
    compare = bench("compare")
    asked = compare.arguments().parse_args(
        ["--rounds", "2", "--lookups", "8", "--at-once", "2", "--only", "ours", "tuned"]
    )

    measured = compare.measure(asked, url)
    compare.report(measured)

    assert [len(of["cpu"]) for of in measured["contenders"].values()] == [2, 2]
    assert "| diga_async, `iter_many` |" in capsys.readouterr().out


def test_a_contender_that_fails_ends_the_run(bench, url):
    turns = bench("turns")
    entrant = turns.Entrant(
        label="lazy", contender="contextlib:nullcontext", lookups=1, at_once=1
    )

    with pytest.raises(RuntimeError, match="lazy ended"):
        turns.play([entrant], url, 1)


def test_nginx_answers_with_the_id_that_was_asked(bench):
    servers = bench("servers")
    if servers.find_nginx() is None:
        pytest.skip("nginx is missing; on Debian: apt-get install nginx-light")
    contenders = bench("contenders")
    phone_id = "3c90c3cc-0d44-4b50-8888-8dd25736052a"

    with servers.nginx(body=servers.FULL) as url:
        address = f"{url}/v1/phone/{phone_id}"
        with urlopen(address) as response:  # noqa: S310 - it is loopback's
            fields = json.load(response)

    assert contenders.phone_of(fields).id == UUID(phone_id)
    assert fields.keys() == {a.name for a in attrs.fields(contenders.Phone)}


def test_peers_are_generated_from_the_one_operation():
    assert list(published()["paths"]) == ["/v1/phone/{phone_id}"]


def test_without_peers_nothing_is_installed(bench):
    with bench("peers").environment(None, wanted=False) as peers:
        assert peers.versions == {}


# --- the others


def test_stations_are_measured(bench):
    stations = bench("stations")

    measured = stations.measure(rounds=1, count=3)

    assert len(list(stations.rows(measured))) > 8
    assert next(iter(measured["decoders"])) == stations.OURS


@pytest.mark.parametrize("part", ["at-once", "wide", "ids", "latency", "loops"])
def test_a_part_of_scaling_has_a_table(part, bench, monkeypatch):
    """The figures of turns are replaced; another test measures."""
    scaling = bench("scaling")
    monkeypatch.setattr(scaling.servers, "nginx", lambda **_: nullcontext())
    monkeypatch.setattr(scaling.servers, "small", lambda *_, **__: nullcontext())
    took = {"cpu": [100.0, 110.0], "wall": [200.0, 210.0]}
    monkeypatch.setattr(
        scaling.turns,
        "play",
        lambda entrants, *_, **__: {e.label: took for e in entrants},
    )
    measure, rows = scaling.PARTS[part]

    head, *body = rows(measure(scaling.arguments().parse_args([])))

    assert body
    assert {len(row) for row in body} == {len(head)}


def test_start_up_is_measured(bench, monkeypatch):
    startup = bench("startup")
    monkeypatch.setattr(startup, "PROGRAMS", {startup.LIBRARIES: ("-c", "pass")})

    measured = startup.measure(rounds=1)

    assert len(list(startup.rows(measured))) == 2


def test_results_keep_the_sections_of_others(bench, tmp_path):
    results = bench("results")
    file = tmp_path / "figures.json"

    results.save(file, "one", {"cpu": [1.0, 2.0]})
    results.save(file, "two", {})

    assert json.loads(file.read_text()) == {"one": {"cpu": [1.0, 2.0]}, "two": {}}


def test_the_page_shows_the_figures_that_are_kept(bench):
    """Otherwise a table and its chart might be from different days."""
    charts = bench("charts")
    sections = json.loads(PAGE.with_suffix(".json").read_text())
    page = PAGE.read_text()

    assert charts.filled(page, sections) == page
    for name, svg in charts.charts(sections):
        assert PAGE.with_name(f"performance-{name}.svg").read_text() == svg


def test_a_ratio_is_the_median_of_pairs(bench):
    turns = bench("turns")
    slow, fast = [200.0, 20.0, 4.0], [100.0, 10.0, 1.0]

    assert turns.paired(slow, fast)[1] == statistics.median([2.0, 2.0, 4.0])


# --- long-running faults


def test_the_soak_does_everything_and_sees_what_grows(bench):
    soak, said = bench("soak"), []

    asyncio.run(soak.soak(0.1, show=said.append))

    done = next(line for line in said if line.startswith("done"))
    deeds = ("get", "outcome", "cancel", "close", "lent", "fault", "forgotten")
    assert [deed for deed in deeds if f"'{deed}'" not in done] == []
    kept = soak.Left(kib=60_000, objects=1, descriptors=9, tasks=1, threads=2)
    leaking = [attrs.evolve(kept, kib=60_000 + 1000 * n, tasks=n) for n in range(30)]
    assert list(soak.grown([kept] * 30)) == []
    assert len(list(soak.grown(leaking))) == 2


def test_the_fuzz_tries_every_kind_and_finds_nothing(bench):
    fuzz = bench("fuzz")

    report = asyncio.run(fuzz.fuzz(0.5, "test"))

    assert report.wrong == []
    assert report.came["Phone"] > 0
    assert set(report.tried) <= set(fuzz.KINDS)


def test_the_cost_of_a_denial_is_measured(bench):
    denial = bench("denial")

    figures = denial.figures_of("endless header")

    assert figures.came.startswith("APIConnectionError")
    assert figures.seconds < denial.MOST_SECONDS
    assert figures.mib > 1


def test_every_row_of_denial_can_be_made(bench):
    denial = bench("denial")

    assert all(callable(row) for row in denial.ROWS.values())
