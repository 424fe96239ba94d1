"""What a run may cost, what it has cost, and sums that many runs share."""
