"""Find for a name in the user's words or code what it means."""
