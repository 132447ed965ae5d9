"""Datasets: built from structures, stored on disk, split, and loaded as batches."""
