"""Plain Python: checks of arguments, whole files, nearest names, graphs."""
