"""Outputs → losses: each objective takes tensors and stands outside the model."""
