"""TLS with clients and with servers, and the server name (SNI) in a ClientHello."""
