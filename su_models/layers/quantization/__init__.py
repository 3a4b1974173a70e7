"""Layers that map vectors to a finite set of codes."""
