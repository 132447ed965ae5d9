"""General parts of the interface: theme, safe text, file drop, downloads."""
