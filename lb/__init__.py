"""A load balancer on trio."""

__version__ = "0.1.0"
