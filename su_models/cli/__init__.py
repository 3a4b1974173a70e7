"""The command `su-models`, which no other room may import."""
