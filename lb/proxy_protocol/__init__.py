"""The PROXY protocol: headers in and out."""
