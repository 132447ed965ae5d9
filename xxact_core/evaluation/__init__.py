"""Evaluation: predictions of a checkpoint on a split, metrics, calibration and tables."""
