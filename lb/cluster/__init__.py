"""Several balancers that are one cluster: they know each other, and what operators say to one holds on all."""
