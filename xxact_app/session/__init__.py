"""The state of one visit: session, undo history, URL."""
