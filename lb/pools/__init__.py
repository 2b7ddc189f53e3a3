"""Pools at run time: picks, leases, queues, slow start, outlier detection."""
