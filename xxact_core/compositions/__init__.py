"""Formula → composition → element rows."""
