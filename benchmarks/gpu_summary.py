"""One page about a GPU session: what was done, what it found, what failed. Reads the folder that the parts wrote into.

    python -m benchmarks.gpu_summary results

Prints Markdown. A part that left nothing, or cannot be read, is named; the others are shown all the same.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.rows import sentence_of

PAGES: tuple[tuple[str, str], ...] = (  # title, file
    ("The machine", "environment.txt"),
    ("Losses, and speeds of our step's variants", "steps.txt"),
    ("Beside the peers", "table.txt"),
)
TAILS: tuple[tuple[str, str, int], ...] = (  # title, file, lines from its end
    ("The step beside the layers, by precision (tinymixer doctor --gpu)", "proof.txt", 60),
    ("Races (compute-sanitizer)", "racecheck.txt", 12),
    ("Memory errors (compute-sanitizer)", "memcheck.txt", 12),
    ("Where nano's step goes", "profile-nano.txt", 30),
    ("Where small/4's step goes", "profile-small-4.txt", 30),
    ("Kernels, plain to fast", "kernels.txt", 45),
    ("GPU tests", "tests.txt", 25),
    ("Training", "training.txt", 12),
)


def page(folder: Path) -> str:
    """The whole summary of a session's folder."""
    parts = _text(folder / "parts.txt", lambda text: text) or "- no part was begun\n"
    lines = ["# GPU session", "", parts]
    failed = [line for line in parts.splitlines() if "FAILED" in line or "LEFT OUT" in line]
    lines.append(f"**{len(failed)} parts failed or were left out.**" if failed else "**Every part was done.**")
    for title, name in PAGES:
        lines += _section(title, _text(folder / name, lambda text: text))
    for title, name, count in TAILS:
        lines += _section(title, _text(folder / name, lambda text, n=count: "\n".join(text.splitlines()[-n:])))
    return "\n".join(lines) + "\n"


def _section(title: str, text: str | None) -> list[str]:
    return ["", f"## {title}", *(["", "```", text.rstrip("\n"), "```"] if text else ["", "nothing was written"])]


def _text(path: Path, of: Callable[[str], str]) -> str | None:
    """A part of a file's text; None where there is no file, and a sentence where it cannot be read."""
    if not path.exists():
        return None
    try:
        return of(path.read_text(encoding="utf-8", errors="replace").replace("```", "'''"))
    except OSError as error:
        return f"{path.name} cannot be read: {sentence_of(error)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    print(page(parser.parse_args().folder), end="")


if __name__ == "__main__":
    main()
