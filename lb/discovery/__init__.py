"""Discovery of servers: DNS and files."""
