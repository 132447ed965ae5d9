"""A pattern and a composition to a prediction."""
