"""Objectives: outputs of the model → losses, as functions of tensors."""
