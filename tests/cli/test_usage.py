"""What is said of a wrong command line."""

import pytest

KEY = "sk-fa17ed00fa17ed00fa17ed00"


@pytest.fixture
def usage_error(diga):
    """Run a wrong command line; return what is said, on one line."""

    def usage_error(*arguments):
        code, printed, words = diga(*arguments)
        assert (code, printed) == (2, "")
        return " ".join(words.translate(str.maketrans("│╭╮╰╯─", "      ")).split())

    return usage_error


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["chek"], "No such command 'chek'. Did you mean 'diga check'?"),
        (["phone", "lst"], "Did you mean 'diga phone list'?"),
        (["wach"], "Did you mean 'diga phone watch'?"),
        (["phone", "list", "--from", "x"], "Did you mean '--assigned-from'?"),
        (["phone", "fetch", "--retry"], "Did you mean '--retry-failed'?"),
        (["phone", "list", "--stats", "x"], "Did you mean '--status'?"),
        (["sandbox", "-o", "x"], "No such option '-o'. "),
        (["phone", "list", "--json"], "A pipe or -o X.jsonl gives JSON lines."),
        (["phone", "fetch", "--json"], "A pipe or -o X.jsonl gives JSON lines."),
        (["phone", "watch", "--json"], "A pipe gives JSON lines."),
        (["phone", "fetch", "--overwrite"], "remove it, or give --resume."),
        (["phone", "list", "--limit", "5"], "pipe them into head -n 10."),
        (["phone", "fetch", "--workers", "5"], "Did you mean '--concurrency'?"),
        (["check", "--limit"], "No such option '--limit'. "),
        (["phone", "get", "x", "--key-file", ""], "it is empty; name a file"),
        (["sandbox", "--latency", "1-"], "give seconds as 0.05, or as 0.02-0.08"),
        (["sandbox", "--retry-after", "-1"], "give seconds from 0 on"),
        (["check", "now"], "argument (now). 'diga check' takes options only."),
        (["phone", "fetch", "a", "b"], "cat A B | diga phone fetch -"),
        (["phone", "wait", "a", "b", "--status", "x"], "takes one ID."),
        (
            ["phone", "get"],
            "Missing argument 'ID...'. Example: diga phone get 3c90c3cc-",
        ),
        (
            ["phone", "wait", "a"],
            "Missing option '--status'. Example: diga phone wait ",
        ),
        (
            ["phone", "wait", "a", "--status", ""],
            "'--status': it is empty; name a status",
        ),
        (["phone", "list", "--status", " "], "'--status': it is empty; name a status"),
        (["phone", "fetch", "--concurrency", "ten"], "'ten' is not a whole number."),
        (["phone", "fetch", "--concurrency", "0"], "0 is less than 1."),
        (["phone", "fetch", "--timeout", "5s"], "'5s' is not a number."),
        (["phone", "fetch", "--timeout", "-1"], "-1.0 is not above 0."),
        (["sandbox", "--port", "70000"], "70000 is not from 0 to 65535."),
    ],
)
def test_a_wrong_word_is_named_with_what_was_probably_meant(
    usage_error, arguments, words
):
    assert words in f"{usage_error(*arguments)} "


@pytest.mark.parametrize("option", ["--api-key", "--key", "--token", "-k"])
@pytest.mark.parametrize("command", [["check"], ["phone", "list"], []])
def test_an_option_for_the_key_is_answered_with_the_ways_to_give_one(
    usage_error, command, option
):
    said = usage_error(*command, option, KEY)
    assert "There is no option for the key" in said
    assert "set DIGA_API_KEY, or name a file" in said
    assert KEY not in said


@pytest.mark.parametrize(
    "arguments",
    [
        [KEY],
        ["check", KEY],
        ["check", f"--bogus={KEY}"],
        ["phone", KEY],
        ["phone", "get", KEY],
        ["phone", "fetch", KEY],
        ["phone", "fetch", "ids.txt", KEY],
        ["phone", "fetch", "ids.txt", "-o", KEY],
        ["phone", "fetch", "ids.txt", "--column", KEY],
        ["phone", "list", KEY],
        ["phone", "list", "--order", KEY],
        ["phone", "list", "--assigned-from", KEY],
        ["phone", "list", "--base-url", KEY],
        ["phone", "watch", KEY],
        ["phone", "wait", KEY, "--status", "assigned"],
        ["phone", "wait", KEY],
        ["phone", "get", "x", "--key-file", KEY],
        ["sandbox", "--port", KEY],
    ],
)
def test_a_key_in_the_wrong_place_is_not_printed(
    usage_error, monkeypatch, tmp_path, arguments
):
    monkeypatch.setenv("DIGA_API_KEY", KEY)
    (tmp_path / "ids.txt").write_text("x")
    assert KEY not in usage_error(*arguments)


def test_a_key_in_the_place_of_an_argument_is_answered_with_the_remedy(usage_error):
    assert "If *** is the key: set DIGA_API_KEY" in usage_error("check", KEY)


def test_a_group_without_a_command_shows_its_help(diga):
    _, printed, words = diga("phone")
    assert "Usage: diga phone" in printed + words


@pytest.mark.usefixtures("sandbox")
def test_an_empty_name_of_a_file_is_said_to_be_empty(usage_error):
    assert "FILE is empty, as of a shell variable" in usage_error("phone", "fetch", "")


@pytest.mark.parametrize("option", ["--limit", "--overwrite"])
def test_an_option_that_is_far_off_gets_no_guess(usage_error, option):
    assert "Did you mean" not in usage_error("check", option)


def test_a_terminal_of_no_width_has_a_help_page(diga, monkeypatch):
    monkeypatch.setenv("COLUMNS", "0")
    assert "Usage: diga check" in diga("check", "--help")[1]
