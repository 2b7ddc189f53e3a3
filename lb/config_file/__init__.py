"""The parts of the configuration file, read by :mod:`lb.config`."""
