"""Run a model's code with care: tried in a copy of the kernel before, and taken back after."""
