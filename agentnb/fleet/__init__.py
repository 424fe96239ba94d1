"""Many runs on existing engines, beyond one machine."""
