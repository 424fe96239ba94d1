"""HOW work proceeds and survives."""
