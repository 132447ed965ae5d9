"""The Patterns screen: measured, processed and reference patterns."""
