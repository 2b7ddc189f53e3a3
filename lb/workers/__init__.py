"""Several processes that carry the traffic, and the supervisor that leads them."""
