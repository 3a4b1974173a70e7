"""The tables of names, one file a family."""
