"""Read source text: definitions and what they use. Pure."""
