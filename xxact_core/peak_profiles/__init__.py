"""Reflections to profiles: peak shapes and the sums of peaks."""
