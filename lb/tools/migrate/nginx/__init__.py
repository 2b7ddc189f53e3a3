"""nginx.conf as lb.toml: http, stream, and rtmp of the module for live streams."""
