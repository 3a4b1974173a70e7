"""Decoding of functional models, token by token."""
