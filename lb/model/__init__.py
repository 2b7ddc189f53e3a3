"""The data model: servers, pools, listeners. Values only: no I/O, no clock.

A class whose name ends in ``Spec`` is a frozen part of the configuration; :mod:`lb.config` creates it.
Durations are in seconds; ``math.inf`` means "never".
"""

from __future__ import annotations

from lb.model.announce import AnnounceSpec
from lb.model.cache import CacheSpec, RouteCache
from lb.model.cluster import ClusterSpec
from lb.model.config import AdminSpec, Config, LogSpec, ProcessSpec
from lb.model.etcd import EtcdSource, EtcdSpec
from lb.model.forward import ForwardSettings, ProxyLogin, TargetRule
from lb.model.http import (
    Files,
    HeaderEdits,
    HttpPoolSpec,
    HttpSettings,
    Redirect,
    Respond,
    RouteSpec,
    StickySpec,
    ToMedia,
    ToPool,
    UsersSpec,
)
from lb.model.kubernetes import KubernetesSource
from lb.model.listener import BandwidthSpec, ListenerSpec, ModeSettings, OptionalProxies, Share, TcpSettings
from lb.model.media import LiveSpec, MediaSpec, PublishKey, VodSpec
from lb.model.plugin import PluginSpec, Secret
from lb.model.pool import CheckSpec, CheckTls, DnsSource, HealthSpec, OutlierSpec, PassiveSpec, PoolSpec, ProxyTlv
from lb.model.server import Server, ServerSpec
from lb.model.tls import CertificateSpec, ListenerTlsSpec, PemSpec, PoolTlsSpec

__all__ = [
    "AdminSpec",
    "AnnounceSpec",
    "BandwidthSpec",
    "CacheSpec",
    "CertificateSpec",
    "CheckSpec",
    "CheckTls",
    "ClusterSpec",
    "Config",
    "DnsSource",
    "EtcdSource",
    "EtcdSpec",
    "Files",
    "ForwardSettings",
    "HeaderEdits",
    "HealthSpec",
    "HttpPoolSpec",
    "HttpSettings",
    "KubernetesSource",
    "ListenerSpec",
    "ListenerTlsSpec",
    "LiveSpec",
    "LogSpec",
    "MediaSpec",
    "ModeSettings",
    "OptionalProxies",
    "OutlierSpec",
    "PassiveSpec",
    "PemSpec",
    "PluginSpec",
    "PoolSpec",
    "PoolTlsSpec",
    "ProcessSpec",
    "ProxyLogin",
    "ProxyTlv",
    "PublishKey",
    "Redirect",
    "Respond",
    "RouteCache",
    "RouteSpec",
    "Secret",
    "Server",
    "ServerSpec",
    "Share",
    "StickySpec",
    "TargetRule",
    "TcpSettings",
    "ToMedia",
    "ToPool",
    "UsersSpec",
    "VodSpec",
]
