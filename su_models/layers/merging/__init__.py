"""Several tensors into one."""
