"""Keep the journal of runs: one contract, and the journals that keep it."""
