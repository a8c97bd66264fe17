"""May a request start, and shall it be retried: pure rules; time and chance are arguments."""
