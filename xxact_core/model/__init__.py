"""Tokens → encoders → fusion → heads: the model, in torch only."""
