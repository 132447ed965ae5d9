"""One screen a module: each builds its widgets once, reads session and store, and writes to the session only."""
