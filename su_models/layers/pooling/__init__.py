"""Layers that pool a sequence into one vector."""
