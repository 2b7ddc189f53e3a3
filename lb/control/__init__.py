"""The control plane: configuration, listening sockets, health, overrides."""
