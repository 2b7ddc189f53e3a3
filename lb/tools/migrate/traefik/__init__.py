"""Traefik's file provider, and its static file, as lb.toml: YAML and TOML."""
