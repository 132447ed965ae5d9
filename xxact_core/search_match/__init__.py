"""Search and match: pattern → matching reference phases."""
