"""Layers of diffusion models: noise in, and the noise predicted."""
