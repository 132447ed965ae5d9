"""The Embeddings screen: maps of what a model has learned."""
