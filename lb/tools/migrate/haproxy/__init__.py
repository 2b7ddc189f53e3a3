"""haproxy.cfg as lb.toml: proxies in mode tcp and http."""
