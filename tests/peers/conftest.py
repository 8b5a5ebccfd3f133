"""The peers, PyTorch first, take seconds to import: a run that leaves their tests out does not collect them."""


def pytest_ignore_collect(config):
    return True if "not peers" in config.option.markexpr else None  # None: nothing to say, another may
