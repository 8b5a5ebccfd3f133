"""Makes tinymixer/pretrained/imagenet_classes.txt.gz from the lists that timm carries.

    pip download timm==1.0.22 --no-deps && unzip timm-*.whl -d timm && python datasets/make_imagenet_classes.py timm

See tinymixer/pretrained/imagenet_classes.md for where the names come from and under which licence they are.
"""

import gzip
import sys
from pathlib import Path

OUT = Path(__file__).parents[1] / "tinymixer" / "pretrained" / "imagenet_classes.txt.gz"
SETS = {1: "imagenet_synsets.txt", 2: "imagenet21k_goog_synsets.txt", 4: "imagenet21k_miil_synsets.txt"}


def main(timm: Path) -> None:
    folder = timm / "timm" / "data" / "_info"
    lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    lemmas = dict(line.split("\t") for line in lines)
    members = {bit: (folder / name).read_text().split() for bit, name in SETS.items()}
    for synsets in members.values():
        assert synsets == sorted(synsets), "labels are places in the sorted list: one number per line would not do"
    flags: dict[str, int] = {}
    for bit, synsets in members.items():
        for synset in synsets:
            flags[synset] = flags.get(synset, 0) | bit
    rows, before = [], 0
    for synset in sorted(flags):
        rows.append(f"{int(synset[1:]) - before}\t{flags[synset]}\t{lemmas[synset].split(', ')[0]}\n")
        before = int(synset[1:])
    OUT.write_bytes(gzip.compress("".join(rows).encode(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
