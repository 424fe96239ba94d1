"""Count what a run may cost and has cost, and keep sums that many runs share."""
