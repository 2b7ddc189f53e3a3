"""The manifests of examples/kubernetes, by the schemas of Kubernetes, their configuration, and the chart."""

from __future__ import annotations

import re
import subprocess
import sys

import kubernetes_validate
import pytest
import yaml

from lb.config.load import load
from tests.support.effort import DEEP
from tests.support.paths import EXAMPLES

HOME = EXAMPLES / "kubernetes"
TOKEN = "/etc/trio-lb-admin/token"
SLACK = 2
"""Seconds that are left of the grace period at least when a pod has ended by itself."""


def documents(text):
    return [each for each in yaml.safe_load_all(text) if each]


def manifests():
    return {
        f"{path.stem} {each['kind']} {each['metadata']['name']}": each
        for path in sorted(HOME.glob("*.yaml"))
        for each in documents(path.read_text())
    }


MANIFESTS = manifests()


def of_kind(kind, found):
    (document,) = (each for each in found if each["kind"] == kind and each["metadata"]["name"] != "web")
    return document


def balancer_of(found):
    """Return the pod template of the balancer."""
    return of_kind("Deployment", found)["spec"]["template"]


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_is_valid(name):
    kubernetes_validate.validate(MANIFESTS[name], kubernetes_validate.latest_version(), strict=True)


def test_a_manifest_that_is_not_valid_would_be_found():
    document = {**MANIFESTS["balancer Service lb"], "spec": {"type": "LoadBalancer", "port": 80}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def config_of(found, tmp_path):
    """Load the configuration of a ConfigMap, with a token that is here."""
    (tmp_path / "token").write_text("secret")
    text = of_kind("ConfigMap", found)["data"]["lb.toml"]
    assert TOKEN in text
    (tmp_path / "lb.toml").write_text(text.replace(TOKEN, "token"))
    return load(tmp_path / "lb.toml")


def check(found, tmp_path):
    """Check that the parts of a set of manifests fit each other."""
    config, template = config_of(found, tmp_path), balancer_of(found)
    process, pod = config.process, template["spec"]
    (container,) = pod["containers"]
    ports = {each["name"]: each["containerPort"] for each in container["ports"]}
    assert process.watch
    assert config.admin.bind.port == ports["admin"]
    assert {address.port for each in config.listeners.values() for address in each.bind} == {ports["http"]}
    assert container["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "admin"}
    lasts = container["lifecycle"]["preStop"]["sleep"]["seconds"] + process.stop_delay + process.stop_timeout
    assert lasts + SLACK <= pod["terminationGracePeriodSeconds"]
    mounts = {each["name"]: each["mountPath"] for each in container["volumeMounts"]}
    assert mounts == {"config": "/etc/trio-lb", "admin": TOKEN.removesuffix("/token")}
    assert not any("subPath" in each for each in container["volumeMounts"]), "Kubernetes would not renew it"
    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        selector = of_kind(kind, found)["spec"]["selector"]
        assert selector.get("matchLabels", selector).items() <= template["metadata"]["labels"].items()
    role = of_kind("Role", found)
    assert role["rules"] == [
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list", "watch"]}
    ]
    binding = of_kind("RoleBinding", found)
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    account = of_kind("ServiceAccount", found)["metadata"]["name"]
    assert account == pod["serviceAccountName"] == binding["subjects"][0]["name"]
    assert (config.pools["web"].kubernetes.service, config.pools["web"].kubernetes.port) == ("web", "http")


def test_the_parts_fit_each_other(tmp_path):
    check(MANIFESTS.values(), tmp_path)
    servers = MANIFESTS["servers Service web"]
    assert [port["name"] for port in servers["spec"]["ports"]] == ["http"]


def test_the_chart_names_each_value_that_it_uses():
    """Helm itself renders it in the weekly run; this holds what can be seen without it."""
    values = yaml.safe_load((HOME / "chart" / "values.yaml").read_text())
    used = set()
    for path in (HOME / "chart" / "templates").iterdir():
        used |= set(re.findall(r"\.Values\.([A-Za-z.]+)", path.read_text()))
    for name in used:
        found = values
        for part in name.split("."):
            found = found[part]
    assert {name.partition(".")[0] for name in used} == values.keys()


@pytest.fixture
def helm(tmp_path, monkeypatch):
    """Helm in Python, which is too large to be there always: 240 MB."""
    library = tmp_path / "library"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", library, "helm-python-sdk>=0.2"]
    subprocess.run(install, check=True)
    monkeypatch.syspath_prepend(library)


@pytest.mark.skipif(not DEEP, reason="downloads Helm in Python, 240 MB: HYPOTHESIS_PROFILE=deep runs it")
@pytest.mark.usefixtures("helm")
def test_the_chart_says_the_same(tmp_path):
    from helm_python.chart import Chart

    with Chart.load(HOME / "chart") as chart:
        rendered = chart.render(name="lb", namespace="default")
    found = [each for text in rendered.values() for each in documents(text)]
    for each in found:
        kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    check(found, tmp_path)
    ours, theirs = balancer_of(MANIFESTS.values())["spec"], balancer_of(found)["spec"]
    ours["containers"][0].pop("image"), theirs["containers"][0].pop("image")
    theirs["containers"][0].pop("imagePullPolicy")
    theirs["volumes"][1]["secret"] = ours["volumes"][1]["secret"]
    for each in (ours, theirs):
        each.pop("topologySpreadConstraints")
    assert theirs == ours
