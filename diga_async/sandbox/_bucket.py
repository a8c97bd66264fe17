"""A leaky bucket: which requests a rate limit lets through."""

import attrs


@attrs.define(eq=False)
class LeakyBucket:
    """
    Counts as nginx's ``limit_req`` with ``nodelay`` does.

    What is over the rate fills the bucket, up to the burst; a request that would
    spill is refused and adds nothing.
    See https://nginx.org/en/docs/http/ngx_http_limit_req_module.html.

    >>> bucket = LeakyBucket()
    >>> [bucket.admits(0.0, per_second=10, burst=1) for _ in range(3)]
    [True, True, False]
    >>> bucket.admits(0.1, per_second=10, burst=1)
    True
    """

    _excess: float = attrs.field(default=0.0, init=False)
    _last: float | None = attrs.field(default=None, init=False)

    def admits(self, now: float, *, per_second: float, burst: int) -> bool:
        """Say whether a request at *now* passes, and count it if so."""
        excess = self._excess_at(now, per_second)
        if excess > burst:
            return False
        self._excess, self._last = excess, now
        return True

    def _excess_at(self, now: float, per_second: float) -> float:
        if self._last is None:
            return 0.0
        return max(0.0, self._excess - per_second * (now - self._last) + 1)
