"""Effects of instrument and sample that training patterns are given."""
