"""Answers requests for Pyodide's files from a folder, in the place of the content network."""

import mimetypes
import tarfile
from pathlib import Path

from browsing import Handler


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
