"""The admin endpoint: status, orders, events, metrics, the dashboard."""
