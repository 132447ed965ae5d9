"""File → pattern → gridded pattern: what a diffractometer wrote, as the model reads it."""
