"""Pattern to matching reference materials."""
