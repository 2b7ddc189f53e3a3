"""The balancer as a service: signals, upgrades, service manager integration, privileges."""
