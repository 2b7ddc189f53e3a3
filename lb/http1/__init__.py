"""HTTP/1.1 and 1.0 without I/O: heads of requests and responses, chunked bodies, targets (RFC 9110, RFC 9112).

There is exactly one reading of a message: what could be read in two ways is refused (RFC 9112, section 11.2). A head
is judged line by line, and no line depends on another, so lines, blocks of lines and whole heads that come again are
looked up instead of parsed (:mod:`lb.http1.interned`).
"""
