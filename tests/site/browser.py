"""A file server on localhost and headless Chromium, which may ask that server alone."""

import http.server
import mimetypes
import os
import shutil
import tarfile
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


class Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = http.server.SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".js": "text/javascript",
        ".wasm": "application/wasm",
        ".whl": "application/octet-stream",
    }

    def log_message(self, *arguments):
        pass


@contextmanager
def served(folder):
    """The address under which the folder is served."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


def launch(playwright):
    """Chromium: the one that CHROMIUM names, the system's, or Playwright's own. None where there is none."""
    named = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUMS)), None)
    path = named or playwright.chromium.executable_path
    if not Path(path).exists():
        return None
    return playwright.chromium.launch(executable_path=path, args=ARGUMENTS)


class PyodideFolder:
    """Pyodide's files from the folder that TINYMIXER_PYODIDE names: its npm archive, and wheels beside it."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.archive = next(self.folder.glob("pyodide-*.tgz"), None)

    def content(self, name):
        path = self.folder / name
        if path.is_file():
            return path.read_bytes()
        if self.archive is not None:
            with tarfile.open(self.archive) as packed:
                member = packed.extractfile(f"package/{name}")
                return member.read() if member else None
        return None

    def answer(self, route):
        """Answer a request to the production address as the content network would."""
        name = route.request.url.rsplit("/", 1)[-1]
        kind = (
            Handler.extensions_map.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
        )
        headers = {"Access-Control-Allow-Origin": "*"}
        try:
            route.fulfill(body=self.content(name), content_type=kind, headers=headers)
        except KeyError:
            route.fulfill(status=404)
