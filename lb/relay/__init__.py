"""The splicers: they accept clients, connect to servers and relay bytes. One is fast (epoll), one portable (trio)."""
