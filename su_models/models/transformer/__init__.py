"""Transformers: one file per family, each a small subclass of another."""
