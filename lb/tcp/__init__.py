"""The mode ``"tcp"``: relay bytes between a client and a server, unchanged."""
