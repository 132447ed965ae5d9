"""Untrusted files, parsed in a process of their own under limits."""
