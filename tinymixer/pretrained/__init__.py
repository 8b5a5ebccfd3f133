"""Published weights of Mixers: which there are, fetching them, and giving models to other programs."""
