"""File to pattern, by vendor."""
