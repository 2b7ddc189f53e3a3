"""``lb rehearse``: the balancer in virtual time, on a machine that is imagined."""
