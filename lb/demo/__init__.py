"""``lb demo``: servers to kill, a balancer in front of them, a load, and what became of it."""

from lb.demo.main import demo

__all__ = ["demo"]
