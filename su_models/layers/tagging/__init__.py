"""Layers that label the tokens or spans of a sequence."""
