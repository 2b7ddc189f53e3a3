"""Readers of the configuration file. The entry point is :mod:`lb.config.load`."""
