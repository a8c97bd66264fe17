"""
Arguments that other libraries take with a call, and what there is here instead.

One table for each kind of call of `Phones`; see `explains`.
"""

_TIMEOUTS = "pass timeouts=10.0, or use asyncio.timeout(10.0) around the call"
_RETRIES = "retries are the client's: DigaClient(retry=RetryPolicy(max_attempts=4))"
_HEADERS = "headers are the client's: DigaClient(headers={...})"
_CONCURRENCY = "pass concurrency=32, the most lookups under way"
_AGENT = "pass inbound_agent_id= or outbound_agent_id="
_PAGE_SIZE = "pass page_size=, at most 100; to read fewer phones, leave the loop"
_AFTER = "pages have cursors: pass after=, the id of a phone"
_EVERY = "pass every=, seconds from poll to poll"

_ANY_CALL = {
    "timeout": _TIMEOUTS,
    "total": _TIMEOUTS,
    **dict.fromkeys(("retries", "retry", "max_retries", "max_attempts"), _RETRIES),
    **dict.fromkeys(("headers", "extra_headers"), _HEADERS),
    "api_key": "the key is the client's: make another client for another key",
}
ONE = {**_ANY_CALL, "id": "pass phone_id", "concurrency": "get() looks up one phone"}
MANY = {
    **_ANY_CALL,
    "timeout": "pass timeouts=10.0 for each id, or use asyncio.timeout() for all",
    **dict.fromkeys(("ids", "phones"), "pass phone_ids"),
    **dict.fromkeys(("limit", "max_concurrency", "workers"), _CONCURRENCY),
    **dict.fromkeys(("batch_size", "chunk_size", "max_workers"), _CONCURRENCY),
    "return_exceptions": "a failed id never stops the others: it is a Failed outcome",
}
LISTING = {
    **_ANY_CALL,
    **dict.fromkeys(("limit", "per_page", "max_items"), _PAGE_SIZE),
    **dict.fromkeys(("cursor", "page", "offset", "before", "starting_after"), _AFTER),
    **dict.fromkeys(("agent_id", "agent"), _AGENT),
    **dict.fromkeys(("sort", "order_by", "sort_by"), "pass order='asc' or 'desc'"),
}
_POLLING = {**_ANY_CALL, **dict.fromkeys(("interval", "poll_interval"), _EVERY)}
WAITING = {
    **{name: remedy for name, remedy in _POLLING.items() if name != "timeout"},
    "id": "pass phone_id",
    "state": "pass status=",
}
WATCHING = {
    **_POLLING,
    "ids": "pass phone_ids",
    "status": "it watches ids, or every phone: compare change.after.status",
    "timeout": "a watch has no end: use asyncio.timeout() around the loop",
    "state": "pass baseline=, the phones of an earlier watch",
}
