"""Files of structures of many formats → structures."""
