"""Recipe → run → checkpoint."""
