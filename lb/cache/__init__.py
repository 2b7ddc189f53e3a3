"""The HTTP cache: what may be stored and served (pure), and where it is kept."""
