"""Sticks → file → batches: the data set on disk, its split, and what a model is fed with."""
