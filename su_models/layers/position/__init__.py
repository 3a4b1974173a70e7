"""Layers that encode the positions of tokens."""
