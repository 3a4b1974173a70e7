"""A sequence into one vector."""
