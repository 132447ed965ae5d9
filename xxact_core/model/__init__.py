"""The model, in torch only: tokens → encoders → fusion → heads."""
