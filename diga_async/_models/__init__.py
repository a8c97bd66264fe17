"""Frozen values, errors and options for callers, and JSON to and from them."""
