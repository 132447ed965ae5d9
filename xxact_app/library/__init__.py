"""What the workspace holds: models, datasets, reference materials."""
