"""Write events as log lines."""
