"""Measured pattern to gridded pattern."""
