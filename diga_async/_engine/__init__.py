"""One call, from the queue to its answer."""
