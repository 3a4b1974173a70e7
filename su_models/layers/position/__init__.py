"""Layers that tell a model where each token stands."""
