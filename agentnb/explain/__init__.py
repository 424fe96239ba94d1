"""Explain anyone's prompt cache: read a log, judge its calls by the simulator's rules, name what broke a prefix."""
