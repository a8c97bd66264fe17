"""The command `diga`."""
