"""The mode ``forward``: a proxy that clients are told to use. They name the server that they want."""
