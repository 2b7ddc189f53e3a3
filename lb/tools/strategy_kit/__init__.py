"""Tests of strategies: ``lb strategy``."""
