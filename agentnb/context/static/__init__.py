"""Source text -> definitions and what they use. Pure."""
