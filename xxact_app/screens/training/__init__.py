"""The Training screen: datasets, recipes, runs and their curves."""
