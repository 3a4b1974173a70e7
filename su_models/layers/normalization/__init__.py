"""Layers that normalize features."""
