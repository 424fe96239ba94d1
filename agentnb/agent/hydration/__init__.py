"""What a turn is hydrated with: the notebook's cells and names, the project's files and instructions."""
