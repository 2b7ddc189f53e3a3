"""``lb demo``: three servers, a balancer, a load, and a check that failover works."""

from lb.tools.demo.main import demo

__all__ = ["demo"]
