"""Google's wire."""
