"""The HTTP API of Diga as pure functions: no I/O, no clock."""
