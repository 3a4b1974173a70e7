"""Labels of tokens and of spans, scored together."""
