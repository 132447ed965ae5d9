"""Checkpoint × split → predictions → tables."""
