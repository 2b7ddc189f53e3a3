"""Tools beside the balancer: demo, rehearsal, strategy kit."""
