"""Live objects -> short, stable descriptions, without running anybody's code."""
