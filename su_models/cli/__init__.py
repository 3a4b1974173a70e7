"""The command `su-models`. Nothing of the library may import it."""
