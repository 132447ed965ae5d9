"""The workspace and its content: models, datasets, uploaded structures."""
