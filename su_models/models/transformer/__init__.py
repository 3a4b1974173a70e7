"""Transformers: one file a family, each a delta over another."""
