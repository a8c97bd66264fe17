"""`diga phone list`, from arguments to the exit code."""

import csv
import json
import signal
import sys
from datetime import UTC, datetime, timedelta, timezone
from urllib.parse import parse_qsl
from uuid import UUID

import attrs
import pytest

from diga_async import Phone, UnprocessableEntityError, ValidationDetail
from diga_async._cli import listing
from diga_async._cli.exit_codes import CommandError
from diga_async._cli.filters import moment_of, refused_filter
from diga_async.sandbox import Faults, Sandbox

pytestmark = pytest.mark.usefixtures("blocking_is_fine")


@pytest.fixture
def project(monkeypatch):
    """Serve 250 phones: three pages."""
    with Sandbox(250) as sandbox:
        monkeypatch.setenv("DIGA_BASE_URL", sandbox.url)
        monkeypatch.setenv("DIGA_API_KEY", sandbox.api_key)
        yield sandbox


@pytest.fixture(params=["out.jsonl", "out.csv"])
def out(request, tmp_path):
    return tmp_path / request.param


def ids_in(path):
    """Return the ids of a file, in order; each must be there once."""
    with path.open(newline="") as file:
        read = csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        ids = [UUID(row["id"]) for row in read]
    assert len(set(ids)) == len(ids)
    return ids


def queries(sandbox):
    return [request.path.partition("?")[2] for request in sandbox.requests]


# --- where phones go


def test_a_pipe_gets_json_lines(diga, project):
    code, printed, words = diga("phone", "list")
    assert code == 0
    assert [json.loads(line) for line in printed.splitlines()] == [
        Phone.from_dict(project.phones[i]).to_dict() for i in project.phone_ids[::-1]
    ]
    assert words == (
        f"diga: listing the phones at {project.url}\ndiga: 250 phones listed\n"
    )
    assert len(project.requests) == 3


def test_a_terminal_gets_a_table(diga, sandbox, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for module in ("listing", "display"):
        monkeypatch.setattr(
            f"diga_async._cli.{module}.is_terminal", lambda s: s is sys.stdout
        )
    code, printed, words = diga("phone", "list")
    assert (code, len(printed.splitlines())) == (0, 21)
    assert all(str(phone_id) in printed for phone_id in sandbox.phone_ids)
    assert "20 phones listed" in words
    monkeypatch.setattr("diga_async._cli.listing.is_terminal", lambda _: True)
    assert len(diga("phone", "list", "--ids")[1].splitlines()) == 20


def test_a_file_gets_a_row_for_each_phone(diga, project, out):
    code, printed, words = diga("phone", "list", "-o", out, "--order", "asc")
    assert (code, printed) == (0, "")
    assert ids_in(out) == list(project.phone_ids)
    assert "250 phones listed, 250 rows in " in words


def test_ids_alone_are_ready_for_a_fetch(diga, sandbox, tmp_path):
    expected = {*map(str, sandbox.phone_ids)}
    assert {*diga("phone", "list", "--ids")[1].split()} == expected
    for name in ("ids.txt", "ids.csv"):
        assert diga("phone", "list", "--ids", "-o", name)[0] == 0
        assert diga("phone", "fetch", name, "-o", f"{name}.jsonl")[0] == 0
        assert len((tmp_path / f"{name}.jsonl").read_text().splitlines()) == 20
    assert (tmp_path / "ids.csv").read_text().startswith("id\n")


def test_cells_that_a_spreadsheet_would_run_are_guarded_unless_raw(
    diga, sandbox, tmp_path
):
    for phone in sandbox.phones.values():
        phone["nickname"] = "=1+1"
    for name, options, nickname in (
        ("out.csv", (), "'=1+1"),
        ("raw.csv", ("--csv-raw",), "=1+1"),
    ):
        assert diga("phone", "list", "-o", name, *options)[0] == 0
        with (tmp_path / name).open(newline="") as file:
            assert {row["nickname"] for row in csv.DictReader(file)} == {nickname}


# --- which phones


def test_filters_are_sent_as_the_api_names_them(diga, sandbox):
    agent = "9b2d1f6e-0000-4000-8000-00000000000b"
    code, printed, _ = diga(
        *("phone", "list", "--status", "assigned", "--inbound-agent", agent),
        *("--outbound-agent", agent, "--assigned-from", "2026-07-01"),
        *("--assigned-until", "2026-07-02T10:00+02:00", "--order", "asc"),
    )
    assert (code, printed) == (0, "")
    (query,) = queries(sandbox)
    assert parse_qsl(query) == [
        ("limit", "100"),
        ("order", "asc"),
        ("inbound_agent_id", agent),
        ("outbound_agent_id", agent),
        ("status", "assigned"),
        ("start_assigned_at", "2026-07-01T00:00:00+00:00"),
        ("end_assigned_at", "2026-07-02T10:00:00+02:00"),
    ]


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-07-01", datetime(2026, 7, 1, tzinfo=UTC)),
        ("2026-07-01T10:30", datetime(2026, 7, 1, 10, 30, tzinfo=UTC)),
        ("2026-07-01 10:30Z", datetime(2026, 7, 1, 10, 30, tzinfo=UTC)),
        (
            "2026-07-01T10:30+02:00",
            datetime(2026, 7, 1, 10, 30, tzinfo=timezone(timedelta(hours=2))),
        ),
    ],
)
def test_a_date_without_an_offset_is_utc(text, moment):
    read = moment_of("--assigned-from", text)
    assert read == moment
    assert read.utcoffset() == moment.utcoffset()


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "1/7/2026"])
def test_an_invalid_date_is_reported_with_its_option(text):
    with pytest.raises(CommandError, match="--assigned-until must be a date such as"):
        moment_of("--assigned-until", text)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--inbound-agent", "12"], "--inbound-agent must be a UUID"),
        (["--outbound-agent", "12"], "--outbound-agent must be a UUID"),
        (["--assigned-from", "soon"], "--assigned-from must be a date"),
        (
            ["--assigned-from", "2026-08-01", "--assigned-until", "2026-07-01"],
            "is later than --assigned-until (2026-07-01T00:00:00+00:00)",
        ),
        (["-o", "-"], "leave -o - out"),
        (["-o", "no folder/out.csv"], "mkdir -p 'no folder'"),
        (["--order", "up"], "--order"),
        (["-o", "out.txt"], "must end in .jsonl or .csv"),
        (["-o", "out.jsonl", "--ids"], "must end in .txt or .csv"),
        (["-o", "out.jsonl", "--csv-raw"], "--csv-raw needs"),
        (["--csv-raw"], "--csv-raw needs -o OUT.csv"),
        (["--quiet", "--verbose"], "exclude each other"),
        (["--timeout", "nan"], "--timeout must be"),
    ],
)
def test_a_wrong_option_is_named_and_nothing_is_touched(
    diga, sandbox, tmp_path, arguments, words
):
    code, printed, said = diga("phone", "list", *arguments)
    assert (code, printed) == (2, "")
    assert words in said
    assert sandbox.requests == []
    assert list(tmp_path.iterdir()) == []


def test_a_filter_that_the_server_refuses_is_a_wrong_option(diga, sandbox):
    code, _, words = diga("phone", "list", "--status", "asigned")
    assert code == 2
    assert "the server refuses --status 'asigned' (did you mean 'assigned'?)" in words
    assert "known are reserved, pending_verification, assigned, released," in words
    assert "stopped" not in words


def test_another_filter_that_the_server_refuses_is_told_in_its_words():
    refused = UnprocessableEntityError(
        status=422, details=[ValidationDetail(["query", "status"], "no", "enum")]
    )
    text = refused_filter(refused, {"status": "assigned"})
    assert text == "the server refuses a filter: 422: query.status: no"


# --- the same OUT again


def test_a_file_that_exists_is_not_touched(diga, sandbox, out):
    out.write_text("mine")
    code, _, words = diga("phone", "list", "-o", out)
    assert code == 2
    assert "exists" in words
    assert out.read_text() == "mine"
    assert sandbox.requests == []


def test_resuming_passes_over_the_ids_that_are_there(diga, project, out):
    assert diga("phone", "list", "-o", out)[0] == 0
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    out.write_bytes(b"".join(lines[:120]) + lines[120][:30])
    code, _, words = diga("phone", "list", "-o", out, "--resume")
    assert code == 0
    assert out.read_bytes() == whole
    assert "the last row was torn; it was cut off" in words
    assert "rows already" in words
    assert ", except those in " in words


def test_resuming_without_a_file_starts(diga, sandbox, out):
    assert diga("phone", "list", "-o", out, "--resume")[0] == 0
    assert len(ids_in(out)) == 20
    assert "nothing to resume" in diga("phone", "list", "--resume")[2]


def test_the_rows_of_a_fetch_are_not_resumed(diga, sandbox, ids, out):
    assert diga("phone", "fetch", ids, "-o", out)[0] == 0
    before = out.read_bytes()
    code, _, words = diga("phone", "list", "-o", out, "--resume")
    assert code == 2
    assert "cannot resume" in words
    assert out.read_bytes() == before


def test_a_phone_that_comes_again_has_one_row(diga, project, out):
    project.faults = Faults(repeated_phones=1.0)
    assert diga("phone", "list", "-o", out)[0] == 0
    assert {*ids_in(out)} == {*project.phone_ids}


# --- records that are not phones


def test_a_record_that_is_not_a_phone_is_named_and_passed_over(diga, project, out):
    broken = {project.phone_ids[i] for i in (0, 120, 121, 249)}
    for phone_id in broken:
        project.phones[phone_id]["number"] = None
    code, _, words = diga("phone", "list", "-o", out, "--quiet")
    assert code == 1
    assert {*ids_in(out)} == {*project.phone_ids} - broken
    for phone_id in broken:
        assert f"diga: {phone_id} is passed over: " in words
    assert "4 records passed over" in words
    assert words.count("$.data[") == 4


def test_a_record_without_an_id_stops_the_command(diga, project, out):
    project.phones[project.phone_ids[120]]["id"] = None
    code, _, words = diga("phone", "list", "-o", out)
    assert code == 4
    assert 0 < len(ids_in(out)) < 250
    assert "stopped early: " in words
    assert "$.data[" in words
    assert "to go on" not in words


def test_a_record_that_comes_again_stops_the_command(diga, project, monkeypatch):
    """A server that ignores the cursor would otherwise be asked for ever."""
    project.phones[project.phone_ids[-1]]["number"] = None
    page_of = Sandbox._page_of

    def without_cursor(self, fault, query):
        return page_of(self, fault, attrs.evolve(query, after=None))

    monkeypatch.setattr(Sandbox, "_page_of", without_cursor)
    code, _, words = diga("phone", "list")
    assert code == 4
    assert words.count(f"{project.phone_ids[-1]} is passed over") == 1


# --- how it ends


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"api_key": "another"},
            (3, "change the key in DIGA_API_KEY first; to go on: "),
        ),
        ({"faults": Faults(forbidden=1.0)}, (3, "'Phones: read' first; to go on: ")),
        ({"faults": Faults(errors=1.0)}, (4, "to go on: diga phone list -o")),
    ],
)
def test_an_early_end_has_its_code_and_says_how_to_go_on(
    diga, project, out, change, expected
):
    for name, value in change.items():
        setattr(project, name, value)
    code, _, words = diga("phone", "list", "-o", out, "--timeout", 0.5)
    assert code == expected[0]
    assert "stopped early: " in words
    assert expected[1] in words
    assert f"-o {out} --timeout 0.5 --resume\n" in words


def test_where_there_is_no_listing_the_address_is_wrong(diga, sandbox):
    code, _, words = diga("phone", "list", "--base-url", f"{sandbox.url}/api")
    assert code == 2
    assert "there is no Diga API" in words
    assert "to go on" not in words


def test_ctrl_c_stops_it_and_resuming_goes_on(diga, project, out, monkeypatch):
    key_of, count = listing.key_of, iter(range(1000))

    def interrupt(phone_id):
        if next(count) == 150:
            signal.raise_signal(signal.SIGINT)
        return key_of(phone_id)

    monkeypatch.setattr(listing, "key_of", interrupt)
    code, _, words = diga("phone", "list", "-o", out, "--order", "asc")
    assert code == 130
    assert "stopped early" not in words
    assert f"to go on: diga phone list --order asc -o {out} --resume\n" in words
    assert len(ids_in(out)) >= 150
    assert diga("phone", "list", "-o", out, "--resume")[0] == 0
    assert {*ids_in(out)} == {*project.phone_ids}


def test_without_a_file_the_hint_says_to_write_to_one(diga, project):
    project.api_key = "another"
    hint = "write to a file: diga phone list --status assigned -o OUT.jsonl\n"
    assert hint in diga("phone", "list", "--status", "assigned")[2]
    assert "--ids -o OUT.txt\n" in diga("phone", "list", "--ids")[2]


def test_a_file_that_vanishes_is_not_a_success(diga, project, out, monkeypatch):
    key_of = listing.key_of

    def remove(phone_id):
        out.unlink(missing_ok=True)
        return key_of(phone_id)

    monkeypatch.setattr(listing, "key_of", remove)
    code, _, words = diga("phone", "list", "-o", out)
    assert code == 4
    assert f"stopped early: {out} was removed" in words
    assert "listed" not in words.replace("listing", "")


def test_progress_is_drawn_on_a_terminal(diga, project, out, monkeypatch):
    drawn = []
    for module in ("listing", "display"):
        monkeypatch.setattr(f"diga_async._cli.{module}.is_terminal", lambda _: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(listing, "list_view", lambda s: drawn.append(s) or "")
    monkeypatch.setattr("diga_async._cli.display.REFRESH_SECONDS", 0.01)
    project.latency = 0.05
    assert diga("phone", "list", "-o", out)[0] == 0
    assert (drawn[0].pages, drawn[0].phones) == (0, 0)
    assert drawn[-1].total_pages == 3
    drawn.clear()
    project.latency = 0.0
    assert diga("phone", "list")[0] == 0
    assert drawn == []  # rows on the screen are progress enough


def test_a_status_given_twice_is_refused(diga, sandbox):
    code, _, err = diga("phone", "list", "--status", "assigned", "--status", "reserved")
    assert code == 2
    assert "it can be given once" in err
    assert sandbox.requests == []
