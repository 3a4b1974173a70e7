"""Layers that replace vectors by one of finitely many."""
