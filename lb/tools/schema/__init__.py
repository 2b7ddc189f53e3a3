"""``lb schema``: a JSON Schema of lb.toml, from the tables that the loader reads with."""
