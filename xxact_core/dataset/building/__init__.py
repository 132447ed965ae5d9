"""Structures to dataset files."""
