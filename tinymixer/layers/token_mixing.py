"""How a block may mix its tokens, by name."""

TOKEN_MIXERS = ("mlp", "linear", "pool", "none")
