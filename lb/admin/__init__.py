"""The admin endpoint: status, operations, events, metrics, dashboard."""
