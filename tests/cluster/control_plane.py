"""A control plane of Kubernetes on this machine: etcd, the API server, the controllers and the
scheduler as they are, and nodes that kwok makes up: they say of every pod that it runs."""

import functools
import json
import os
import ssl
import subprocess
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from engine.ports import Ports
from engine.server import Server
from tests.cluster.figures import Figures, served
from tests.deploy.manifests import Object, gateway_api, go, module

TOOLS = Path(__file__).with_name("tools")
NODES = ("node-a", "node-b", "node-c")
TOKEN = "of-the-tests"
PATIENCE = 300.0
"""Seconds that one command has."""

UNVERIFIED = ssl._create_unverified_context()
"""Each server signs its own certificate."""


@functools.cache
def program(tool: str, name: str) -> str:
    """Where the program is. It is built at its first use."""
    done = go(TOOLS / tool, "tool", "-n", name)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


class Program(Server):
    """``health``: what it answers with 200 as soon as it does its work."""

    def __init__(self, folder: Path, command: Sequence[str | Path], health: str) -> None:
        super().__init__(folder)
        self._command = [str(word) for word in command]
        self._health = health

    def command(self) -> list[str]:
        return self._command

    def answers(self) -> bool:
        asked = urllib.request.Request(self._health, headers={"Authorization": f"Bearer {TOKEN}"})
        with urllib.request.urlopen(asked, timeout=5, context=UNVERIFIED) as answer:
            return answer.status == 200


class Cluster:
    """``figures``: what its metrics-server and its adapter of metrics say, to be made up."""

    def __init__(self, folder: Path, figures: Figures) -> None:
        self.figures = figures
        self._environment = os.environ | {
            "HOME": str(folder),
            "KUBECONFIG": str(folder / "kubeconfig"),
        }

    def run(self, *arguments: str, given: str | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program("kubernetes", "kubectl"), *arguments],
            input=given,
            check=False,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )

    def kubectl(self, *arguments: str, given: str | None = None) -> str:
        done = self.run(*arguments, given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def refusal(self, *arguments: str, given: str | None = None) -> str:
        """What is said where it is refused."""
        done = self.run(*arguments, given=given)
        assert done.returncode != 0, f"not refused: {done.stdout}"
        return done.stderr

    def shell(self, script: str) -> None:
        """As somebody types it."""
        programs = f"{Path(program('kubernetes', 'kubectl')).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            check=False,
            env=self._environment | {"PATH": programs},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        assert done.returncode == 0, done.stderr

    def apply(self, text: str) -> None:
        """Without a warning, too."""
        done = self.run(*APPLY, given=text)
        assert (done.returncode, done.stderr) == (0, "")

    def objects(self, kind: str, *arguments: str) -> list[Any]:
        """Those in Marquee's namespace."""
        found = json.loads(self.kubectl("-n", "marquee", "get", kind, "-o", "json", *arguments))
        items: list[Any] = found["items"]
        return items

    @contextmanager
    def has(self, text: str) -> Iterator[None]:
        """These manifests from here on; at the end the namespace is gone, with all in it."""
        try:
            self.apply(text)
            yield
        finally:
            self.kubectl("delete", "namespace", "marquee", "--ignore-not-found")


APPLY = ("apply", "--server-side", "--validate=strict", "-f", "-")
TRY = (*APPLY, "--dry-run=server")
"""All checks of the server, and nothing is changed."""


@contextmanager
def control_plane(folder: Path) -> Iterator[Cluster]:
    ports = Ports(folder / "ports.json")
    api = f"https://127.0.0.1:{ports['api']}"
    write_secrets(folder, api)
    with ExitStack() as stack:

        def start(server: Program) -> None:
            stack.callback(server.stop)
            server.start()

        start(etcd(folder / "etcd", ports))
        start(api_server(folder / "api", ports))
        own = folder / "api/apiserver.crt", folder / "api/apiserver.key"
        figures = stack.enter_context(served(api, TOKEN, own))
        cluster = Cluster(folder, figures)
        things = {"apiVersion": "v1", "kind": "List", "items": furniture(figures)}
        cluster.kubectl("create", "-f", "-", given=json.dumps(things))
        cluster.kubectl("apply", "--server-side", "-f", str(gateway_api()))
        start(controllers(folder / "controllers", ports))
        start(scheduler(folder / "scheduler", ports))
        start(kwok(folder / "kwok", ports))
        cluster.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=120s")
        yield cluster


def write_secrets(folder: Path, api: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    text = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (folder / "accounts.key").write_bytes(text)
    (folder / "tokens.csv").write_text(f'{TOKEN},tests,1,"system:masters"\n')
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": api, "insecure-skip-tls-verify": True}},
        ],
        "users": [{"name": "u", "user": {"token": TOKEN}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(json.dumps(kubeconfig))


def etcd(folder: Path, ports: Ports) -> Program:
    clients, peers = (f"http://127.0.0.1:{ports[name]}" for name in ("etcd", "etcd-peers"))
    command = [
        program("etcd", "etcd"),
        f"--data-dir={folder / 'data'}",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
        "--unsafe-no-fsync",
    ]
    return Program(folder, command, f"{clients}/health")


def api_server(folder: Path, ports: Ports) -> Program:
    accounts = folder.parent / "accounts.key"
    command = [
        program("kubernetes", "kube-apiserver"),
        f"--etcd-servers=http://127.0.0.1:{ports['etcd']}",
        "--bind-address=127.0.0.1",
        "--advertise-address=127.0.0.1",
        "--endpoint-reconciler-type=none",
        f"--secure-port={ports['api']}",
        f"--cert-dir={folder}",
        f"--token-auth-file={folder.parent / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={accounts}",
        f"--service-account-signing-key-file={accounts}",
        "--service-cluster-ip-range=10.96.0.0/16",
        # So that it is Pod Security that refuses.
        "--allow-privileged=true",
    ]
    return Program(folder, command, f"https://127.0.0.1:{ports['api']}/readyz")


def controllers(folder: Path, ports: Ports) -> Program:
    command = [
        program("kubernetes", "kube-controller-manager"),
        *led(folder, ports["controllers"]),
        f"--service-account-private-key-file={folder.parent / 'accounts.key'}",
        # What figures say counts at once, also where it is less than before.
        "--horizontal-pod-autoscaler-sync-period=1s",
        "--horizontal-pod-autoscaler-cpu-initialization-period=1s",
        "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
        "--horizontal-pod-autoscaler-downscale-stabilization=1s",
    ]
    return Program(folder, command, f"https://127.0.0.1:{ports['controllers']}/healthz")


def scheduler(folder: Path, ports: Ports) -> Program:
    command = [program("kubernetes", "kube-scheduler"), *led(folder, ports["scheduler"])]
    return Program(folder, command, f"https://127.0.0.1:{ports['scheduler']}/healthz")


def led(folder: Path, port: int) -> list[str]:
    return [
        f"--kubeconfig={folder.parent / 'kubeconfig'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder}",
        "--leader-elect=false",
    ]


def kwok(folder: Path, ports: Ports) -> Program:
    """Nodes that are ready, and pods that are so as soon as they have a node."""
    stages = module(TOOLS / "kwok", "sigs.k8s.io/kwok") / "kustomize/stage"
    command = [
        program("kwok", "kwok"),
        f"--kubeconfig={folder.parent / 'kubeconfig'}",
        "--manage-all-nodes",
        "--node-lease-duration-seconds=40",
        f"--server-address=127.0.0.1:{ports['kwok']}",
        *(f"--config={file}" for file in sorted(stages.glob("pod/fast/pod-*.yaml"))),
        f"--config={stages / 'node/fast/node-initialize.yaml'}",
    ]
    return Program(folder, command, f"http://127.0.0.1:{ports['kwok']}/healthz")


def furniture(figures: Figures) -> list[Object]:
    """What a cluster has before anybody brings something: nodes, room on disks, figures."""
    size = {"cpu": "16", "memory": "64Gi", "ephemeral-storage": "100Gi", "pods": "110"}
    nodes = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {
                "name": name,
                "labels": {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": name},
            },
            "status": {"capacity": size, "allocatable": size},
        }
        for name in NODES
    ]
    volumes = [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"volume-{number}"},
            "spec": {
                "capacity": {"storage": "100Gi"},
                "accessModes": ["ReadWriteOnce"],
                "hostPath": {"path": f"/volume-{number}"},
            },
        }
        for number in range(20)
    ]
    return [*nodes, *volumes, *figures.registration()]
