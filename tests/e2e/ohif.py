"""OHIF's built viewer on loopback, with the DICOMweb of an Orthanc beside it under the same origin."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

DIST = Path("/opt/ecg-node-tools/ohif/dist")
_CONFIG = {
    "routerBasename": "/",
    "showStudyList": True,
    "extensions": [],
    "modes": [],
    "maxNumberOfWebWorkers": 1,
    "showWarningMessageForCrossOrigin": False,
    "showCPUFallbackMessage": False,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "pacs",
    "dataSources": [
        {
            "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
            "sourceName": "pacs",
            "configuration": {
                "friendlyName": "PACS",
                "name": "pacs",
                "wadoUriRoot": "/wado",
                "qidoRoot": "/dicom-web",
                "wadoRoot": "/dicom-web",
                "qidoSupportsIncludeField": False,
                "supportsReject": False,
                "imageRendering": "wadors",
                "thumbnailRendering": "wadors",
                "enableStudyLazyLoad": True,
                "supportsFuzzyMatching": False,
                "supportsWildcard": True,
            },
        }
    ],
}


class _Handler(SimpleHTTPRequestHandler):
    """Files of the viewer, its configuration, and everything below /dicom-web from the PACS."""

    server: "_Server"

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments, directory=str(DIST))

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/dicom-web"):
            self._proxy()
        elif path == "/app-config.js":
            self._answer(200, "text/javascript", f"window.config = {json.dumps(_CONFIG)};".encode())
        else:
            if not (DIST / path.lstrip("/")).is_file():
                self.path = "/index.html"  # the viewer's own routes
            super().do_GET()

    def _proxy(self) -> None:
        wanted = {"Accept": self.headers.get("Accept", "*/*"), "Host": self.headers["Host"]}
        answer = self.server.pacs.get(self.path, headers=wanted)
        self._answer(answer.status_code, answer.headers.get("Content-Type", ""), answer.content)

    def _answer(self, status: int, kind: str, content: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_arguments: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, pacs_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pacs = httpx.Client(base_url=pacs_url, timeout=60)


@contextmanager
def running_ohif(pacs_url: str) -> Iterator[str]:
    """The viewer's address, over the PACS whose HTTP root is `pacs_url`."""
    server = _Server(pacs_url)
    thread = threading.Thread(target=server.serve_forever, name="ohif", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        server.pacs.close()
