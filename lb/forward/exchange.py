"""A request to a forward proxy: its refusals carry Proxy-Status (RFC 9209)."""

from __future__ import annotations

from collections.abc import Mapping

from lb.events import HttpRequest, ProxiedRequest, RequestReason
from lb.forward.failure import ForwardFailure, of_attempts
from lb.forward.proxy_auth import user_of
from lb.forward.proxy_frontend import ProxyFrontend
from lb.http.exchange import Exchange, ExchangeCarrier
from lb.http.frontend import HttpFrontend
from lb.http1.request_head import RequestHead
from lb.model.request import HeaderFields

__all__ = ["ForwardExchange"]

_ERRORS: Mapping[RequestReason, str] = {
    "timeout": "http_response_timeout",
    "connect_failed": "destination_unavailable",
    "no_server": "destination_unavailable",
    "server_down": "destination_unavailable",
    "server_reset": "connection_terminated",
    "bad_response": "http_protocol_error",
    "too_large": "http_request_error",
    "bad_request": "http_request_error",
    "auth": "http_request_denied",
}
"""Error types of refusals that have no other."""


class ForwardExchange(Exchange):
    """One request, and its response or its tunnel."""

    frontend: ProxyFrontend
    failure: ForwardFailure | None = None
    """Why its target was not reached."""

    def __init__(self, carrier: ExchangeCarrier, frontend: HttpFrontend, head: RequestHead) -> None:
        super().__init__(carrier, frontend, head)
        self.scheme = b"http"  # of the URL, however the client has come to the proxy

    def refuse(self, failure: ForwardFailure) -> None:
        """Answer with this failure."""
        self.failure = failure
        self.fail(failure.status, failure.reason, (), failure.text)

    def fail(self, status: int, reason: RequestReason, fields: HeaderFields = (), detail: str = "") -> None:
        if self.failure is None and self._has_no_connection(reason):  # the pool of its server knows attempts only
            self.failure = failure = of_attempts(self.upstream.attempts if self.upstream is not None else ())
            status, detail = failure.status, failure.text
            reason = reason if reason == "timeout" else failure.reason
        error = self.failure.error if self.failure is not None else _ERRORS.get(reason, "proxy_internal_error")
        proxy_status = (b"Proxy-Status", b"trio-lb; error=%s" % error.encode())
        super().fail(status, reason, (*fields, proxy_status), detail)

    def _has_no_connection(self, reason: RequestReason) -> bool:
        """Return whether the connect has failed, not the request."""
        if reason != "timeout" or self.upstream is None:
            return reason == "connect_failed"
        return self.upstream.server_name_used is None and bool(self.upstream.attempts)

    def _record(self) -> HttpRequest:
        record = super()._record()
        if isinstance(record, ProxiedRequest):
            record.user = user_of(self.head) if self.frontend.users is not None else None
        return record

    def _report(self) -> None:
        result = self.failure.result if self.failure is not None else self._reason
        self.frontend.note("http", result, self.head.host)
        super()._report()
