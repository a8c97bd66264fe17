"""Pure rules: may a request start, and is it retried? Time and chance are arguments."""
