"""Why a client gets its server."""
