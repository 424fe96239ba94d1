"""What the user TOUCHES."""
