"""Whether there is an API at the client's address, judged by what it answers."""


class AddressCheck:
    """
    A client's knowledge about its address.

    A server that is not the API answers every path with a 404, which must not be
    taken for missing records. A 200 shows that it is the API; before the first one,
    the listing is asked: it exists even where there are no records.

    Attributes:
        is_right: Whether the API is there; None while that is not known.
    """

    def __init__(self) -> None:
        self.is_right: bool | None = None

    def succeeded(self) -> None:
        """Record a 200."""
        self.is_right = True

    def listing_answered(self, status: int | None) -> None:
        """Record the status of the listing's answer; None when there was none."""
        if status is not None and not self.is_right:
            self.is_right = status != 404  # noqa: PLR2004
