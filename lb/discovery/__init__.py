"""Servers that are found: in DNS, in files."""
