"""Read the notebook itself: its cells, what they showed, what ran, what failed."""
