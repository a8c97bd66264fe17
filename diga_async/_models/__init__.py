"""What callers see: frozen values, errors and options, and JSON to and from them."""
