"""The data plane in several worker processes, and their supervisor."""
