"""Utilities: argument checks, atomic files, nearest names, model graphs."""
