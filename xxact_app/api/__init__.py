"""Interfaces for other programs: HTTP with JSON, and tools for agents by the Model Context Protocol."""
