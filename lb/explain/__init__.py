"""Explanations of which server a client gets."""
