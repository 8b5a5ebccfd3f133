"""Drives the built course in a headless Chromium, for the tests and the measurements beside this file."""

import json
import sys
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, BrowserContext, Page

sys.path[:0] = [path for path in [str(Path(__file__).resolve().parents[1])] if path not in sys.path]
from browsing import Handler  # noqa: E402

SETTINGS = "/jupyter-lite.json"


class LiteHandler(Handler):
    """Makes JupyterLab reachable for scripts as `window.jupyterapp`."""

    def do_GET(self) -> None:  # noqa: N802 - http.server calls it by this name
        if not self.path.split("?")[0].endswith(SETTINGS):
            super().do_GET()
            return
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings["jupyter-config-data"]["exposeAppInBrowser"] = True
        content = json.dumps(settings).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


class Visit:
    """A visitor's browser at this site. Requests to other servers are refused and noted in `elsewhere`."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.address, self.elsewhere = address, list[str]()
        self.context: BrowserContext = browser.new_context(viewport={"width": 1200, "height": 900})
        self.context.set_default_timeout(120_000)
        self.context.route("**/*", self._only_here)
        self.page: Page = self.context.new_page()

    def _only_here(self, route: Any) -> None:
        url = route.request.url
        if url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.elsewhere.append(url)
            route.abort()

    def close(self) -> None:
        self.context.close()

    def open(self, path: str) -> None:
        """Open a notebook and wait until its kernel is there (Python itself may still load)."""
        self.page.goto(f"{self.address}lab/index.html?path={path}")
        self.page.wait_for_function(
            "name => { const widget = window.jupyterapp?.shell.currentWidget;"
            " return widget?.context?.path === name && widget.sessionContext?.session?.kernel; }",
            arg=path,
        )

    def command(self, name: str) -> None:
        """Carry out one of JupyterLab's commands, without waiting for what it starts."""
        self.page.evaluate("name => { window.jupyterapp.commands.execute(name); }", name)

    def cells(self) -> list[dict[str, Any]]:
        """The notebook's cells as they are now, with outputs."""
        return self.page.evaluate("() => window.jupyterapp.shell.currentWidget.model.toJSON().cells")

    def set_cell(self, index: int, text: str) -> None:
        self.page.evaluate(
            "([index, text]) => {"
            " window.jupyterapp.shell.currentWidget.model.cells.get(index).sharedModel.setSource(text); }",
            [index, text],
        )

    def run(self, index: int, seconds: float = 120.0) -> str:
        """Run one cell and return the text of its outputs."""
        self.page.evaluate(
            "index => { const widget = window.jupyterapp.shell.currentWidget; widget.content.deselectAll();"
            " widget.content.activeCellIndex = index;"
            " window.finished = false;"
            " window.jupyterapp.commands.execute('notebook:run-cell').then(() => { window.finished = true; }); }",
            index,
        )
        self.page.wait_for_function("() => window.finished", timeout=seconds * 1000)
        return text_of(self.cells()[index])

    def run_all(self, seconds: float) -> float:
        """Run all cells, one after the other, also after one that fails; return the seconds."""
        started = time.monotonic()
        self.page.evaluate(
            "() => { window.finished = false;"
            " window.jupyterapp.commands.execute('notebook:run-all-cells').then(() => { window.finished = true; }); }"
        )
        self.page.wait_for_function("() => window.finished", timeout=seconds * 1000)
        return time.monotonic() - started

    def save(self) -> None:
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")


def text_of(cell: dict[str, Any]) -> str:
    """What a cell has printed, shown or raised, as text."""
    parts = []
    for output in cell.get("outputs", []):
        if output["output_type"] == "stream":
            parts.append(_joined(output["text"]))
        elif output["output_type"] == "error":
            parts.append(f"{output['ename']}: {output['evalue']}")
        else:
            data = output["data"]
            parts.append(_joined(data.get("text/html", data.get("text/plain", ""))))
    return "\n".join(parts)


def errors_of(cells: list[dict[str, Any]]) -> list[str]:
    """A line for each cell that ended in an error."""
    return [
        f"cell {index}: {output['ename']}: {output['evalue']}"
        for index, cell in enumerate(cells)
        for output in cell.get("outputs", [])
        if output["output_type"] == "error"
    ]


def find_cell(cells: list[dict[str, Any]], words: str) -> int:
    """The first code cell that contains these words."""
    return next(
        index for index, cell in enumerate(cells) if cell["cell_type"] == "code" and words in _joined(cell["source"])
    )


def _joined(text: str | list[str]) -> str:
    return text if isinstance(text, str) else "".join(text)
