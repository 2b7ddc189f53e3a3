"""HTTP/2 without I/O: frames, HPACK, the states of streams, flow control, limits against floods (RFC 9113, 7541, 9218).

:class:`lb.http2.connection.Http2Connection` is the whole of it: it takes the bytes of a peer and the calls of its
owner, and gives calls to the owner and bytes for the peer. ``receiver`` says what it calls, ``limits`` what it allows,
``field_section`` what a head is, ``hpack_writer`` how one is written.
"""
