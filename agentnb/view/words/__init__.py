"""Put a run document into the words that every view shares."""
