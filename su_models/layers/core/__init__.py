"""Basic layers of a Transformer: embeddings and feed-forward layers."""
