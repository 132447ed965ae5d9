"""The loaded samples and their processed patterns."""
