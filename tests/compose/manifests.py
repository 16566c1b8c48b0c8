"""Checks the files for Kubernetes and Compose, and prints what they run, as JSON, for tests/deploy.rs.

{"kubernetes": {name: [argument…]}, "compose": {name: [argument…]}, "checks": {name: [argument…]}, "calendars": {name: text}}
"""
import json
import sys
import warnings
from pathlib import Path

import kubernetes_validate
import yaml

# The oldest version that the manifest is meant for, some between, and the newest one that the package knows.
VERSIONS = ["1.29", "1.32", "1.35", kubernetes_validate.latest_version()]

repository = Path(sys.argv[1])
found = {"kubernetes": {}, "compose": {}, "checks": {}, "calendars": {}}


def text(path):
    return (repository / path).read_text(encoding="utf-8")


documents = [document for document in yaml.safe_load_all(text("deploy/kubernetes.yaml")) if document]
for document in documents:
    for version in VERSIONS:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            kubernetes_validate.validate(document, version, strict=True)

# What a schema can't see: that the parts fit together.
by = {(document["kind"], document["metadata"]["name"]): document for document in documents}
assert len(by) == len(documents), "two documents have one name"
for (kind, name), document in by.items():
    spec = document.get("spec", {})
    if kind == "ConfigMap":
        found["calendars"].update(document["data"])
    if kind == "Service":
        pods = [d["spec"]["template"] for d in documents if d["kind"] in ("StatefulSet", "Deployment")]
        chosen = [p for p in pods if spec["selector"].items() <= p["metadata"]["labels"].items()]
        assert len(chosen) == 1, f"Service {name} chooses {len(chosen)} kinds of pod"
        ports = {p["name"]: p["containerPort"] for c in chosen[0]["spec"]["containers"] for p in c.get("ports", [])}
        for port in spec["ports"]:
            assert ports[port["targetPort"]] == port["port"], f"Service {name}: {port}"
    if kind not in ("StatefulSet", "Deployment"):
        continue
    template = spec["template"]
    assert spec["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items(), name
    assert spec["replicas"] == 1, name
    pod = template["spec"]
    claims = {claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", [])}
    volumes = {volume["name"] for volume in pod["volumes"]} | claims
    for volume in pod["volumes"]:
        if "configMap" in volume:
            assert ("ConfigMap", volume["configMap"]["name"]) in by, volume
        if "persistentVolumeClaim" in volume:
            assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in by, volume
    if kind == "StatefulSet":
        assert ("Service", spec["serviceName"]) in by, name
    for container in pod["containers"]:
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes, name
        found["kubernetes"][name] = container["args"]
        ports = {port["name"] for port in container.get("ports", [])}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            probe_of = container.get(probe, {})
            if "exec" in probe_of:
                found["checks"][f"{name} {probe}"] = probe_of["exec"]["command"]
            if "httpGet" in probe_of:
                assert probe_of["httpGet"]["port"] in ports, f"{name} {probe}"
                assert probe_of["httpGet"]["path"] in ("/livez", "/readyz"), f"{name} {probe}"

compose = yaml.safe_load(text("docker-compose.yml"))
for name, service in compose["services"].items():
    if "quorate" not in service["image"]:
        continue
    found["compose"][name] = service["command"]
    if "test" in service.get("healthcheck", {}):
        found["checks"][name] = service["healthcheck"]["test"][1:]
    for volume in service.get("volumes", []):
        if volume.startswith("./"):
            assert (repository / volume.split(":")[0]).is_file(), f"{name}: {volume}"

# The configuration of others, as far as it can be looked at without them.
sources = yaml.safe_load(text("deploy/grafana/provisioning/datasources/prometheus.yml"))["datasources"]
for source in sources:
    host = source["url"].removeprefix("http://").split(":")[0]
    assert host in compose["services"], source
assert [source["name"] for source in sources if source.get("isDefault")] == ["Prometheus"]
provider = yaml.safe_load(text("deploy/grafana/provisioning/dashboards/quorate.yml"))["providers"][0]
mounts = [volume.split(":") for volume in compose["services"]["grafana"]["volumes"]]
assert ["./deploy/grafana/dashboards", provider["options"]["path"], "ro"] in mounts, mounts
scraped = yaml.safe_load(text("deploy/prometheus/prometheus.yml"))["scrape_configs"][0]["static_configs"][0]["targets"]
assert scraped == ["scheduler:9464"], scraped
alerts = yaml.safe_load(text("deploy/prometheus/alerts.yml"))["groups"][0]["rules"]
found["alerts"] = [alert["expr"] for alert in alerts]

json.dump(found, sys.stdout)
