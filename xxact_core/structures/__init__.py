"""File → structure: whatever kind of file it is."""
