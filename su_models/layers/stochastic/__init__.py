"""Layers that sample from a distribution with a gradient, and VAE losses."""
