"""A model provider on loopback that keeps the published rules."""
