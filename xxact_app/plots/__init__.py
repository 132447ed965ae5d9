"""Plots that several screens share."""
