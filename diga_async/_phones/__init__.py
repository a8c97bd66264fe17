"""`client.phones`: what callers ask for."""
