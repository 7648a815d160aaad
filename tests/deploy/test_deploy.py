"""What lies in deploy/ and the Dockerfile: well-formed, careful, and about things that exist."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import promql_parser
import pytest
import yaml
from api_fakes import ColourModel, context_of, settings_for
from compose_spec import PyCompose
from dockerfile_parse import DockerfileParser
from prometheus_client import generate_latest
from yamllint import linter
from yamllint.config import YamlLintConfig

from chiasm.api import create_app
from chiasm.observe.metrics import Metrics
from chiasm.settings import describe

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
YAML = sorted([*DEPLOY.rglob("*.yaml"), *DEPLOY.rglob("*.yml")])
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
KUBERNETES = "1.31"
ELSEWHERE = {"up"}  # Prometheus' own


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def manifest(name: str) -> Any:
    return load(DEPLOY / "kubernetes" / f"{name}.yaml")


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_tidy(path: Path):
    config = YamlLintConfig((DEPLOY / ".yamllint").read_text(encoding="utf-8"))
    assert [str(problem) for problem in linter.run(path.read_text(encoding="utf-8"), config)] == []


# Metrics


def documented() -> set[str]:
    text = (ROOT / "docs" / "en" / "metrics.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(chiasm_\w+)`", text, re.MULTILINE))


def existing() -> set[str]:
    """All names of samples: histograms have three."""
    histograms = re.findall(
        r"^# TYPE (\w+) histogram", generate_latest(Metrics().registry).decode(), re.MULTILINE
    )
    parts = {name + end for name in histograms for end in ("_bucket", "_sum", "_count")}
    return documented() - set(histograms) | parts | ELSEWHERE


def labels_of() -> dict[str, set[str]]:
    """The labels of each metric, as the documentation has them."""
    text = (ROOT / "docs" / "en" / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(chiasm_\w+)` \|([^|]*)\|", text, re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


def dashboard() -> Any:
    return json.loads((DEPLOY / "grafana" / "chiasm.json").read_text(encoding="utf-8"))


def expressions() -> Iterator[tuple[str, str]]:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], target["expr"].replace("$__rate_interval", "5m")
    for group in load(DEPLOY / "prometheus" / "alerts.yml")["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


def selectors(node: Any) -> Iterator[promql_parser.VectorSelector]:
    if isinstance(node, promql_parser.VectorSelector):
        yield node
    for name in ("expr", "lhs", "rhs", "param", "vector_selector"):
        child = getattr(node, name, None)
        if child is not None:
            yield from selectors(child)
    for child in getattr(node, "args", None) or ():
        yield from selectors(child)


def test_the_walk_through_an_expression_finds_all_of_it():
    text = "topk(3, a) / on(x) (sum(rate(b[5m])) + histogram_quantile(0.9, sum by (le) (rate(c[1m])))) > (d)"
    assert {found.name for found in selectors(promql_parser.parse(text))} == {"a", "b", "c", "d"}


@pytest.mark.parametrize(("title", "text"), list(expressions()))
def test_every_expression_is_promql_about_metrics_that_exist(title: str, text: str):
    found = list(selectors(promql_parser.parse(text)))
    assert found
    assert {one.name for one in found} <= existing()
    assert set(re.findall(r"\bchiasm_\w+", text)) <= existing()
    known = labels_of()
    for one in found:
        if one.name in ELSEWHERE:
            continue
        base = one.name if one.name in known else re.sub(r"_(bucket|sum|count)$", "", one.name)
        assert {matcher.name for matcher in one.matchers.matchers} <= known[base] | {"instance", "job", "le"}


@pytest.mark.parametrize(("title", "text"), list(expressions()))
def test_what_is_grouped_by_is_a_label(title: str, text: str):
    grouped = {word for by in re.findall(r"by \(([^)]*)\)", text) for word in re.split(r",\s*", by)}
    labels = set().union(*(labels_of().get(name, set()) for name in labels_of()))
    assert grouped <= labels | {"le", "instance"}


def test_every_metric_is_on_the_dashboard():
    shown = " ".join(text for _, text in expressions()) + json.dumps(dashboard()["templating"])
    assert {name for name in documented() if name not in shown} == set()


def test_the_dashboard_can_be_loaded():
    found = dashboard()
    ids = [panel["id"] for panel in found["panels"]]
    assert len(set(ids)) == len(ids)
    variables = {variable["name"] for variable in found["templating"]["list"]}
    assert set(re.findall(r"\$\{?([a-z]\w*)", json.dumps(found["panels"]))) <= variables
    places = [
        (panel["gridPos"]["x"] + dx, panel["gridPos"]["y"] + dy)
        for panel in found["panels"]
        for dx in range(panel["gridPos"]["w"])
        for dy in range(panel["gridPos"]["h"])
    ]
    assert len(set(places)) == len(places)
    assert max(x for x, _ in places) < 24


# Containers


def compose() -> Any:
    return load(DEPLOY / "compose.yaml")


def filled(text: str) -> str:
    """With the defaults of all variables."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def test_compose_is_what_the_specification_says():
    text = filled((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
    assert set(PyCompose.from_yaml(text).service_names()) == {"chiasm", "postgres", "prometheus", "grafana"}
    with pytest.raises(ValueError, match="prots"):
        PyCompose.from_yaml(text.replace("    ports:", "    prots:"))


def test_nothing_is_published_beyond_this_machine():
    ports = [port for service in compose()["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(str(port).startswith("127.0.0.1:") for port in ports)


def test_no_container_may_more_than_it_needs():
    for name, service in compose()["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert ":latest" not in service["image"], name
    assert compose()["services"]["chiasm"]["read_only"]


def test_what_is_mounted_is_there():
    mounts = [m for service in compose()["services"].values() for m in service.get("volumes", ())]
    for mount in mounts:
        source = mount.split(":")[0]
        if source.startswith("."):
            assert (DEPLOY / source).exists()
        else:
            assert source in compose()["volumes"]
    config = load(DEPLOY / "prometheus" / "prometheus.yml")
    assert all((DEPLOY / "prometheus" / name).exists() for name in config["rule_files"])
    assert config["scrape_configs"][0]["static_configs"][0]["targets"] == ["chiasm:8000"]
    assert "chiasm" in compose()["services"]["chiasm"]["environment"]["CHIASM_SERVER_ALLOWED_HOSTS"]


def variables() -> set[str]:
    docker = DockerfileParser(path=str(ROOT / "Dockerfile"))
    named = set(re.findall(r"CHIASM_\w+", docker.content))
    named |= set(compose()["services"]["chiasm"]["environment"])
    named |= {one["name"] for one in container()["env"]}
    return {name for name in named if name.startswith("CHIASM_")}


def test_every_variable_is_a_setting():
    settings = {"CHIASM_" + name.replace(".", "_").upper() for name in describe()}
    assert len(variables()) > 3
    assert variables() <= settings


def test_the_image_runs_as_nobody_in_particular_and_is_looked_after():
    found = DockerfileParser(path=str(ROOT / "Dockerfile")).structure
    last = {one["instruction"]: one["value"] for one in found}
    user, group = last["USER"].split(":")
    assert int(user) > 1000
    assert int(group) > 1000
    assert "/healthz" in last["HEALTHCHECK"]
    assert json.loads(last["CMD"]) == ["chiasm", "serve"]
    context = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv", "tests", "deploy"} <= set(context)


# Kubernetes


def container() -> Any:
    return manifest("deployment")["spec"]["template"]["spec"]["containers"][0]


@pytest.mark.parametrize(
    "path", [path for path in MANIFESTS if path.name != "kustomization.yaml"], ids=lambda path: path.stem
)
def test_manifests_are_what_the_api_takes(path: Path):
    kubernetes_validate.validate(load(path), KUBERNETES, strict=True)


def test_a_manifest_with_a_slip_is_not():
    wrong = manifest("deployment")
    wrong["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


def test_all_manifests_are_applied():
    listed = set(load(DEPLOY / "kubernetes" / "kustomization.yaml")["resources"])
    assert listed == {path.name for path in MANIFESTS} - {"kustomization.yaml"}


def test_probes_ask_routes_that_exist(tmp_path: Path):
    context, library = context_of(settings_for(tmp_path / "data"), ColourModel())
    with library:
        routes = {rule.rule for rule in create_app(context).url_map.iter_rules()}
    probes = {
        name: container()[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")
    }
    assert {name: probe["path"] for name, probe in probes.items()} == {
        "startupProbe": "/healthz",
        "readinessProbe": "/readyz",
        "livenessProbe": "/healthz",
    }
    notes = manifest("deployment")["spec"]["template"]["metadata"]["annotations"]
    assert {probe["path"] for probe in probes.values()} | {notes["prometheus.io/path"]} <= routes
    assert {probe["port"] for probe in probes.values()} <= {port["name"] for port in container()["ports"]}


def test_the_pod_may_do_little():
    pod = manifest("deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]  # else a variable CHIASM_PORT would be read as a setting
    own = container()["securityContext"]
    assert own["readOnlyRootFilesystem"]
    assert not own["allowPrivilegeEscalation"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert container()["resources"]["limits"]["memory"]
    user = next(
        one["value"]
        for one in DockerfileParser(path=str(ROOT / "Dockerfile")).structure
        if one["instruction"] == "USER"
    )
    assert user == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"


def test_names_fit_together():
    pod = manifest("deployment")["spec"]["template"]
    labels = pod["metadata"]["labels"]
    assert manifest("deployment")["spec"]["selector"]["matchLabels"].items() <= labels.items()
    assert manifest("service")["spec"]["selector"].items() <= labels.items()
    assert manifest("networkpolicy")["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    volumes = {one["name"]: one for one in pod["spec"]["volumes"]}
    assert {mount["name"] for mount in container()["volumeMounts"]} == set(volumes)
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == manifest("volume")["metadata"]["name"]
    assert pod["spec"]["serviceAccountName"] == manifest("serviceaccount")["metadata"]["name"]


def test_the_network_policy_keeps_the_pod_from_private_addresses():
    policy = manifest("networkpolicy")["spec"]
    assert set(policy["policyTypes"]) == {"Ingress", "Egress"}
    [block] = [to["ipBlock"] for rule in policy["egress"] for to in rule["to"] if "ipBlock" in to]
    assert {"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16"} <= set(block["except"])
