"""What metrics-server and an adapter of metrics tell a cluster, made up."""

import json
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.deploy.manifests import Object

GROUPS = ("metrics.k8s.io", "external.metrics.k8s.io")


class Figures:
    """``cpu``: how much of it each pod uses, such as "1"; ``external``: metrics by their names.
    What is not there is not known, as without the servers that tell it."""

    def __init__(self, port: int, api: str, token: str) -> None:
        self.cpu: str | None = None
        self.external: dict[str, int] = {}
        self._port = port
        self._api = api
        self._token = token

    def registration(self) -> list[Object]:
        """That the API server asks here for them."""
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "figures", "namespace": "default"},
            "spec": {"type": "ExternalName", "externalName": "localhost"},
        }
        return [service, *(self._api_service(group) for group in GROUPS)]

    def _api_service(self, group: str) -> Object:
        return {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"v1beta1.{group}"},
            "spec": {
                "group": group,
                "version": "v1beta1",
                "service": {"name": "figures", "namespace": "default", "port": self._port},
                "insecureSkipTLSVerify": True,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
            },
        }

    def answer(self, url: str) -> Object | None:
        path, _, query = url.partition("?")
        match path.strip("/").split("/"):
            case ["apis", group, "v1beta1"] if group in GROUPS:
                return {
                    "apiVersion": "v1",
                    "kind": "APIResourceList",
                    "groupVersion": f"{group}/v1beta1",
                    "resources": [],
                }
            case ["apis", "metrics.k8s.io", _, "namespaces", namespace, "pods"]:
                pods = self._pods(namespace, query)
                items = [self._usage(pod) for pod in pods] if self.cpu else []
                return listed("metrics.k8s.io", "PodMetricsList", items)
            case ["apis", group, _, "namespaces", _, name] if name in self.external:
                item = {"metricName": name, "timestamp": now(), "value": str(self.external[name])}
                return listed(group, "ExternalMetricValueList", [item])
        return None

    def _pods(self, namespace: str, query: str) -> list[Object]:
        wanted = urllib.parse.parse_qs(query).get("labelSelector", [""])
        url = f"{self._api}/api/v1/namespaces/{namespace}/pods?" + urllib.parse.urlencode(
            {"labelSelector": wanted[0]}
        )
        asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {self._token}"})
        context = ssl._create_unverified_context()
        with urllib.request.urlopen(asked, timeout=10, context=context) as answer:
            items: list[Any] = json.load(answer)["items"]
        return items

    def _usage(self, pod: Object) -> Object:
        usage = {"cpu": self.cpu, "memory": "100Mi"}
        return {
            "metadata": {"name": pod["metadata"]["name"], "namespace": "marquee"},
            "timestamp": now(),
            "window": "1s",
            "containers": [{"name": c["name"], "usage": usage} for c in pod["spec"]["containers"]],
        }


def listed(group: str, kind: str, items: list[Object]) -> Object:
    return {"apiVersion": f"{group}/v1beta1", "kind": kind, "metadata": {}, "items": items}


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def served(api: str, token: str, own: tuple[Path, Path]) -> Iterator[Figures]:
    """``own``: a certificate and its key."""

    class Tell(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = figures.answer(self.path)
            body = json.dumps(found or {"kind": "Status", "apiVersion": "v1", "code": 404}).encode()
            self.send_response(200 if found else 404)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Tell) as server:
        figures = Figures(server.server_port, api, token)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*own)
        # Hands are shaken in a caller's own thread, so that none keeps others waiting.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield figures
        finally:
            server.shutdown()
            thread.join()
