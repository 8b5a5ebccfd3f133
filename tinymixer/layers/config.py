"""The sizes of a Mixer, checked before anything is built from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from tinymixer.errors import ConfigError, nearest

GELU_FORMS = ("tanh", "erf")


@dataclass(frozen=True)
class MixerConfig:
    """A Mixer's sizes, in the names of the authors' own code (Tolstikhin et al. 2021, table 1).

    Raises ConfigError, in a sentence, when a field has the wrong type, is out of range, or does not fit another.
    """

    image_size: int = field(default=32, metadata={"help": "height and width of the images, in pixels"})
    in_channels: int = field(default=3, metadata={"help": "colour channels of the images"})
    patch_size: int = field(default=4, metadata={"help": "height and width of a patch, in pixels (P)"})
    hidden_dim: int = field(default=128, metadata={"help": "channels of a token (C)"})
    tokens_mlp_dim: int = field(default=64, metadata={"help": "hidden size of the token-mixing MLP (DS)"})
    channels_mlp_dim: int = field(default=512, metadata={"help": "hidden size of the channel-mixing MLP (DC)"})
    num_blocks: int = field(default=8, metadata={"help": "number of Mixer blocks (L)"})
    num_classes: int = field(default=10, metadata={"help": "number of classes (K)"})
    gelu: str = field(default="tanh", metadata={"help": "form of the GELU", "choices": GELU_FORMS})
    dropout: float = field(default=0.0, metadata={"help": "dropout rate after the GELU of each MLP"})
    drop_path: float = field(default=0.0, metadata={"help": "stochastic depth: rate of the last block, rising from 0"})
    layer_norm_eps: float = field(default=1e-6, metadata={"help": "epsilon under LayerNorm's square root"})

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if entry.type is int and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
                raise ConfigError(f"{entry.name} must be a whole number of at least 1, got {value!r}")
            if entry.type is float and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ConfigError(f"{entry.name} must be a number, got {value!r}")
        if self.gelu not in GELU_FORMS:
            raise ConfigError(f"gelu must be 'tanh' or 'erf', got {self.gelu!r}")
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 0 and below 1, got {getattr(self, name)!r}")
        if not 0 < self.layer_norm_eps < 1:
            raise ConfigError(f"layer_norm_eps must lie between 0 and 1, got {self.layer_norm_eps!r}")
        if self.image_size % self.patch_size:
            divisors = [size for size in range(1, self.image_size + 1) if self.image_size % size == 0]
            raise ConfigError(
                f"patch_size {self.patch_size} does not divide image_size {self.image_size}: choose one of "
                + ", ".join(map(str, divisors))
            )

    @property
    def tokens(self) -> int:
        """S, the number of patches of an image."""
        return (self.image_size // self.patch_size) ** 2

    @property
    def patch_features(self) -> int:
        """P*P*in_channels, the length of a patch vector."""
        return self.patch_size**2 * self.in_channels

    @property
    def parameter_count(self) -> int:
        """The number of parameters of a Mixer of these sizes."""
        tokens, channels = self.tokens, self.hidden_dim
        token_mixing = 2 * tokens * self.tokens_mlp_dim + self.tokens_mlp_dim + tokens
        channel_mixing = 2 * channels * self.channels_mlp_dim + self.channels_mlp_dim + channels
        block = token_mixing + channel_mixing + 2 * 2 * channels
        stem = (self.patch_features + 1) * channels
        head = (channels + 1) * self.num_classes
        return stem + self.num_blocks * block + 2 * channels + head

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "MixerConfig":
        """Build a configuration from names and values; an unknown name is a ConfigError that suggests the nearest."""
        names = [entry.name for entry in fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(f"a model has no field '{name}'.{nearest(name, names)}")
        return cls(**values)
