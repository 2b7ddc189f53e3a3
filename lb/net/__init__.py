"""Network helpers: sockets, DNS lookups, deadlines, the file descriptor budget."""
