"""One request out, one response back; the only package that sends with aiohttp."""
