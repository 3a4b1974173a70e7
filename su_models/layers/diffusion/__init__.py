"""Layers of diffusion models: they add noise and compare its prediction."""
