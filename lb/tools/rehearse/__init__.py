"""``lb rehearse``: the balancer in virtual time, on a simulated host."""
