"""Decide WHERE it goes, byte for byte."""
