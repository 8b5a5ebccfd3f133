"""Wrong answers to lesson 13, as a learner would write them, and words of the hint that each must get."""

import numpy as np


def one_permutation(labels, share, seed):
    order = np.arange(len(labels))
    np.random.default_rng(seed).shuffle(order)
    count = int(share * len(labels))
    return order[count:], order[:count]


def parts_swapped(labels, share, seed):
    rng = np.random.default_rng(seed)
    training, validation = [], []
    for label in range(labels.max() + 1):
        members = rng.permutation(np.where(labels == label)[0])
        count = round(share * len(members))
        training += list(members[:count])
        validation += list(members[count:])
    return training, validation


def still_in_training(labels, share, seed):
    rng = np.random.default_rng(seed)
    training, validation = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        training.append(members)
        validation.append(members[: round(share * len(members))])
    return np.concatenate(training), np.concatenate(validation)


def the_first_of_each(labels, share, seed):
    training, validation = [], []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        count = round(share * len(members))
        validation.append(members[:count])
        training.append(members[count:])
    return np.concatenate(training), np.concatenate(validation)


def seed_unused(labels, share, seed):
    rng = np.random.default_rng()
    training, validation = [], []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = round(share * len(members))
        validation.append(members[:count])
        training.append(members[count:])
    return np.concatenate(training), np.concatenate(validation)


def forward(x, keep, rate):
    return x * keep / (1 - rate), (keep, rate)


def not_rescaled(x, keep, rate):
    return np.where(keep, x, 0), (keep, rate)


def not_rescaled_backward(dy, cache):
    return np.where(cache[0], dy, 0)


def shrunk(x, keep, rate):
    return np.where(keep, x * (1 - rate), 0), (keep, rate)


def dropped_kept(x, keep, rate):
    return np.where(keep, 0, x / (1 - rate)), (keep, rate)


def handed_on(dy, cache):
    return dy.copy()


def mask_forgotten(dy, cache):
    _, rate = cache
    return dy / (1 - rate)


def float64_forward(x, keep, rate):
    factor = keep.astype(float) / (1 - rate)
    return x * factor, (factor,)


def float64_backward(dy, cache):
    return dy * cache[0]


def path_forward(x, keep, rate):
    return x * keep[:, None] / (1 - rate), (keep, rate)


def path_backward(dy, cache):
    keep, rate = cache
    return dy * keep[:, None] / (1 - rate)


def along_the_channels(x, keep, rate):
    return x * keep / (1 - rate), (keep, rate)


def along_the_tokens(x, keep, rate):
    return x * keep[:, None, None] / (1 - rate), (keep, rate)


def path_not_rescaled(x, keep, rate):
    return x * keep[None, :, None], (keep, rate)


def path_backward_without_mask(dy, cache):
    return dy / (1 - cache[1])


def path_backward_without_factor(dy, cache):
    return dy * cache[0].reshape(1, -1, 1)


def lowest_of_all(losses, patience):
    return losses.index(min(losses)), len(losses) - 1


def swapped(losses, patience):
    best, waited = 0, 0
    for epoch, loss in enumerate(losses):
        if loss < losses[best]:
            best, waited = epoch, 0
        elif epoch > best:
            waited += 1
        if waited == patience:
            return epoch, best
    return len(losses) - 1, best


def one_too_patient(losses, patience):
    lowest, best = float("inf"), 0
    for epoch, loss in enumerate(losses):
        if loss < lowest:
            lowest, best = loss, epoch
        if epoch - best > patience:
            return best, epoch
    return best, len(losses) - 1


def counting_on(losses, patience):
    lowest, best, bad = losses[0], 0, 0
    for epoch in range(1, len(losses)):
        if losses[epoch] < lowest:
            lowest, best = losses[epoch], epoch
            continue
        bad += 1
        if bad == patience:
            return best, epoch
    return best, len(losses) - 1


def ties_count(losses, patience):
    lowest, best = losses[0], 0
    for epoch, loss in enumerate(losses):
        if loss <= lowest:
            lowest, best = loss, epoch
        elif epoch - best >= patience:
            return best, epoch
    return best, len(losses) - 1


WRONG_ANSWERS = {
    "13.1": [
        (one_permutation, "do not keep their shares"),
        (parts_swapped, "the wrong way round"),
        (still_in_training, "in both parts"),
        (the_first_of_each, "the same for every seed"),
        (seed_unused, "differs from call to call"),
    ],
    "13.2": [
        ((not_rescaled, not_rescaled_backward), "too small on average"),
        ((shrunk, not_rescaled_backward), "made smaller, not larger"),
        ((dropped_kept, not_rescaled_backward), "The wrong entries are dropped"),
        ((forward, handed_on), "handed on as it came"),
        ((forward, mask_forgotten), "dx forgets the mask"),
        ((forward, not_rescaled_backward), "dx lacks the factor"),
        ((float64_forward, float64_backward), "float64 came out"),
    ],
    "13.3": [
        ((along_the_channels, path_backward), "along the channels"),
        ((along_the_tokens, path_backward), "along the tokens"),
        ((path_not_rescaled, path_backward), "too little on average"),
        ((path_forward, path_backward_without_mask), "dx forgets the mask"),
        ((path_forward, path_backward_without_factor), "dx lacks the factor"),
    ],
    "13.4": [
        (lowest_of_all, "losses that are never seen"),
        (swapped, "the wrong way round"),
        (one_too_patient, "one epoch too late"),
        (counting_on, "start again from 0"),
        (ties_count, "counts as an improvement"),
    ],
}
