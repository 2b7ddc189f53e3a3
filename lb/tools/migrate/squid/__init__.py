"""squid.conf as lb.toml: a listener of mode ``"forward"``."""
