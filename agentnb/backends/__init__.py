"""What lies beyond one machine. Each module is the home of its package, which is imported on first use."""
