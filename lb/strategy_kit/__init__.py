"""What a strategy is worth: ``lb strategy``."""
