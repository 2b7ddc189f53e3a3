"""The mode ``http``: a reverse proxy. Each request gets a server of its own choice, over kept connections."""
