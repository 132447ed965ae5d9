"""Compositions: formulas, partly known compositions, element features."""
