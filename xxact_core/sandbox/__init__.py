"""Parsing of untrusted files in a separate process with limits."""
