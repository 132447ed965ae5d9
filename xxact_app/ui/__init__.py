"""Interface parts that know nothing of the science: theme, safe text, file drop, downloads."""
