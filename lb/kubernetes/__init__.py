"""Kubernetes' API: which endpoints a service has, by list and watch."""
