"""Reproduction of the paper's tables and figures, from dataset to page."""
