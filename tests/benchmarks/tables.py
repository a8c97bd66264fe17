"""Results as tables in Markdown, for a terminal and for a page alike."""


def markdown(rows):
    """Lay rows out; the first is the head, and all but the first column are figures."""
    head, *body = rows
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(row)} |\n" for row in (head, rule, *body))


def ratio(quartiles):
    """
    Write a median ratio with its quartiles.

    >>> ratio([0.801, 0.83, 0.85])
    '0.83 (0.80 to 0.85)'
    """
    low, median, high = quartiles
    places = 2 if high < 10 else 1
    return f"{median:.{places}f} ({low:.{places}f} to {high:.{places}f})"
