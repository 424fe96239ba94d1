"""A model's code before and after it runs: tried in a copy of the kernel, and taken back."""
