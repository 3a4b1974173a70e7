"""Layers that draw from a distribution and keep its gradient."""
