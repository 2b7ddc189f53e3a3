"""Addresses that stand on an interface while the balancer can serve, for routing daemons to announce."""
