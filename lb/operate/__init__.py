"""Commands that look at a running balancer and steer it: ``lb ctl``, ``lb top``, ``lb explain``."""
