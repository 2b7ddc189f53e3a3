"""RTMP without I/O: both sides of a connection that publishes or plays one stream.

From the wire up: handshake, chunks, messages; commands in AMF0; audio and video in the forms of FLV, plain and
enhanced. Sources: Adobe's "RTMP Specification 1.0", "AMF 0 Specification" and "FLV File Format Specification 10.1",
and "Enhanced RTMP v2" of the Veovera Software Organization.
"""
