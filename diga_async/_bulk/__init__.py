"""Many calls: their source, their workers, and their results."""
