"""The peers that `tinymixer bench --peer` knows, and whether they can run here.

Only their names are in the package: their code is in `benchmarks/peers`, which only a clone of the repository has.
"""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tinymixer.errors import REPOSITORY, ConfigError

EAGER, COMPILED, JIT = "PyTorch eager", "torch.compile", "JAX jit"
# Peer -> its package, its module, and a name with options for each of its implementations
PEERS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "torch": ("torch", "torch_mixer", {EAGER: {}, COMPILED: {"compiled": True}}),
    "torch-eager": ("torch", "torch_mixer", {EAGER: {}}),
    "torch-compile": ("torch", "torch_mixer", {COMPILED: {"compiled": True}}),
    "jax": ("jax", "jax_mixer", {JIT: {}}),
}


@dataclass(frozen=True)
class Entry:
    """An implementation to measure.

    name        in the table
    module      has `make_step` and `make_forward`
    options     for these two
    precision   that it computes in, where this differs from the precision asked for
    """

    name: str
    module: str
    options: dict[str, Any] = field(default_factory=dict)
    precision: str | None = None


def is_installed(peer: str) -> bool:
    return importlib.util.find_spec(PEERS[peer][0]) is not None


def peer_entries(peers: Iterable[str]) -> list[Entry]:
    """Each implementation of these peers once, in the order asked for.

    Raises ConfigError without a clone of the repository, and for a peer that is not installed.
    """
    peers = list(peers)
    if peers and not (_repository() / "benchmarks" / "peers" / "__init__.py").is_file():
        raise ConfigError(
            f"the peers are in the repository, not in the installed package: clone it (git clone {REPOSITORY}), "
            "pip install -e '.[cli]' there, or leave out --peer"
        )
    entries: dict[str, Entry] = {}
    for peer in peers:
        package, module, implementations = PEERS[peer]
        if not is_installed(peer):
            raise ConfigError(f"the peer '{peer}' is not installed: pip install {package}")
        for name, options in implementations.items():
            entries[name] = Entry(name, f"benchmarks.peers.{module}", options)
    return list(entries.values())


def _repository() -> Path:
    """The folder that workers import from: in a clone, the root of the repository."""
    return Path(__file__).resolve().parents[2]
