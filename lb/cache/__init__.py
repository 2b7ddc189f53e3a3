"""Responses kept for later: what may be kept, and where it is."""
