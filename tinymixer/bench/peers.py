"""Which peers there are, and whether they can take part. Their code is in the repository's `benchmarks/peers`."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinymixer.errors import ConfigError

EAGER, COMPILED, JIT = "PyTorch eager", "torch.compile", "JAX jit"
# Peer -> its package, its module, and the options of each of its contestants
PEERS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "torch": ("torch", "torch_mixer", {EAGER: {}, COMPILED: {"compiled": True}}),
    "torch-eager": ("torch", "torch_mixer", {EAGER: {}}),
    "torch-compile": ("torch", "torch_mixer", {COMPILED: {"compiled": True}}),
    "jax": ("jax", "jax_mixer", {JIT: {}}),
}


@dataclass(frozen=True)
class Entry:
    """Who takes part: the name in the table, the module with its `make_step`, options for that."""

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)


def is_installed(peer: str) -> bool:
    return importlib.util.find_spec(PEERS[peer][0]) is not None


def peer_entries(peers: Iterable[str]) -> list[Entry]:
    """Each contestant once, in the order asked for.

    Raises ConfigError for a peer that is not installed, and where tinymixer is installed without its repository.
    """
    entries: dict[str, Entry] = {}
    for peer in peers:
        package, module, contestants = PEERS[peer]
        if not is_installed(peer):
            raise ConfigError(f"the peer '{peer}' is not installed: pip install {package}")
        for name, options in contestants.items():
            entries[name] = Entry(name, f"benchmarks.peers.{module}", options)
    if entries and not (_repository() / "benchmarks" / "peers" / "__init__.py").is_file():
        raise ConfigError(
            "the peers are in the repository, not in the installed package: clone it, pip install -e '.[cli]' there, "
            "or leave out --peer"
        )
    return list(entries.values())


def _repository() -> Path:
    """The folder that contestants import from: the repository's, in a checkout."""
    return Path(__file__).resolve().parents[2]
