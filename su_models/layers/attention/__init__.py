"""Attention layers: dense, sparse, relative, residual and gated."""
