"""Commands that inspect and control a running balancer: ``lb ctl``, ``lb top``, ``lb explain``."""
