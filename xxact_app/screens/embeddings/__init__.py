"""The Embeddings screen: principal components of the embeddings of many materials."""
