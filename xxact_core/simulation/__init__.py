"""Structure → sticks and labels: what the model learns from."""
