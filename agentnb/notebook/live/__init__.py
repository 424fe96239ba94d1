"""Show what a person watches and presses while a run goes on."""
