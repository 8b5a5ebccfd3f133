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
# Peer -> its package, the beginning of its modules' names, and a name with options for each of its implementations
PEERS: dict[str, tuple[str, str, dict[str, dict[str, Any]]]] = {
    "torch": ("torch", "torch", {EAGER: {}, COMPILED: {"compiled": True}}),
    "torch-eager": ("torch", "torch", {EAGER: {}}),
    "torch-compile": ("torch", "torch", {COMPILED: {"compiled": True}}),
    "jax": ("jax", "jax", {JIT: {}}),
}
# Architecture -> the end of its modules' names, and the packages that it was written in
MODULES = {
    "mlp_mixer": ("mixer", ("torch", "jax")),
    "vit": ("vit", ("torch",)),
    "resnet": ("resnet", ("torch",)),
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


def peer_entries(peers: Iterable[str], architecture: str = "mlp_mixer") -> list[Entry]:
    """Each implementation of these peers once, in the order asked for.

    Raises ConfigError without a clone of the repository, for a peer that is not installed, and for one that has no
    model of this architecture.
    """
    peers = list(peers)
    if peers and not (_repository() / "benchmarks" / "peers" / "__init__.py").is_file():
        raise ConfigError(
            f"the peers are in the repository, not in the installed package: clone it (git clone {REPOSITORY}), "
            "pip install -e '.[cli]' there, or leave out --peer"
        )
    entries: dict[str, Entry] = {}
    for peer in peers:
        package, library, implementations = PEERS[peer]
        module, libraries = MODULES.get(architecture, ("", ()))
        if library not in libraries:
            others = f"leave out --peer {peer}" + (f", or take --peer {libraries[0]}" if libraries else "")
            raise ConfigError(f"there is no {architecture} to compare with for the peer '{peer}': {others}")
        if not is_installed(peer):
            raise ConfigError(f"the peer '{peer}' is not installed: pip install {package}")
        for name, options in implementations.items():
            entries[name] = Entry(name, f"benchmarks.peers.{library}_{module}", options)
    return list(entries.values())


def _repository() -> Path:
    """The folder that workers import from: in a clone, the root of the repository."""
    return Path(__file__).resolve().parents[2]
