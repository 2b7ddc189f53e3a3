"""TLS with clients and with servers, and which server a client asks for."""
