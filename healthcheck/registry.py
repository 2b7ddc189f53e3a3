"""The only list of built-in probes, and the way to anybody else's: by entry point or by ``module:Name``."""

from __future__ import annotations

from healthcheck.probe import Probe
from lb.plugins import Registry

__all__ = ["create", "load", "names"]

_REGISTRY = Registry(
    kind="probe",
    base=Probe,  # type: ignore[type-abstract]  # any subclass of it
    group="lb.probes",
    built_in={
        "tcp": "healthcheck.tcp:TcpProbe",
        "http": "healthcheck.http:HttpProbe",
        "tls": "healthcheck.tls:TlsProbe",
        "exchange": "healthcheck.exchange:ExchangeProbe",
        "exec": "healthcheck.exec:ExecProbe",
        "redis": "healthcheck.redis:RedisProbe",
        "postgres": "healthcheck.postgres:PostgresProbe",
        "mysql": "healthcheck.mysql:MysqlProbe",
        "smtp": "healthcheck.smtp:SmtpProbe",
        "agent": "healthcheck.agent:AgentProbe",
    },
)

names = _REGISTRY.names
load = _REGISTRY.load
create = _REGISTRY.create
