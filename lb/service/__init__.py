"""The process as a service: upgrades, what a service manager gives and is told, rights that are given up."""
