"""Parts shared by all listener modes: listeners, filters, connectors, routes, server handshakes."""
