"""What folders of pictures hold on real machines, and what must not happen over it."""

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinymixer.data import Dataset, cache_folder, load_dataset, load_image, pictures
from tinymixer.data.paths import expanded
from tinymixer.errors import ConfigError, DataError

RNG = np.random.default_rng(0)


def photographs(folder, classes=("cat", "dog"), count=5, size=(24, 16)):
    """Pictures of noise, a folder for each class."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = RNG.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def test_a_class_called_train(tmp_path):
    folder = photographs(tmp_path, ("car", "train", "test"))
    assert Dataset.from_folder(folder, 8).class_names == ["car", "test", "train"]


def test_the_split_does_not_depend_on_what_cannot_be_read(tmp_path):
    """A picture that breaks, or is mended, moves no other between training and test."""
    folder = photographs(tmp_path, count=10)
    whole = Dataset.from_folder(folder, 8)
    (folder / "cat" / "3.png").write_bytes(b"broken")
    after = Dataset.from_folder(folder, 8)
    assert len(after.train_images) + len(after.test_images) == 19
    for name in ("train_images", "test_images"):
        before = {image.tobytes() for image in getattr(whole, name)}
        assert {image.tobytes() for image in getattr(after, name)} <= before


@pytest.mark.parametrize("strange", ["valid", "extra", "Train"])
def test_parts_that_are_not_clear(tmp_path, strange):
    for part in ("train", "val", strange):
        photographs(tmp_path / part)
    if len(list(tmp_path.iterdir())) == 3:  # where names differ by more than their case
        with pytest.raises(DataError, match=r"[Tt]rain/ and (valid|val|extra|train|Train) beside it: expected one"):
            Dataset.from_folder(tmp_path, 8)


def test_pictures_that_lie_loose(tmp_path):
    folder = photographs(tmp_path)
    (folder / "0.png").write_bytes((folder / "cat" / "0.png").read_bytes())
    (folder / "readme.txt").write_text("hello")
    assert Dataset.from_folder(folder, 8).notes == (
        f"left out: {folder / '0.png'} and 1 more file are in no class's folder",
    )


def test_many_broken_pictures_are_a_few_lines(tmp_path):
    folder = photographs(tmp_path, count=12)
    for number in range(8):
        (folder / "dog" / f"{number}.png").write_bytes(b"broken")
    data = Dataset.from_folder(folder, 8)
    assert len(data.notes) == 6
    assert all("is not an image in any format that tinymixer reads" in note for note in data.notes[:5])
    assert data.notes[5] == "left out: 3 more files that cannot be read"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_pipes_devices_and_links_that_lead_nowhere(tmp_path):
    folder = photographs(tmp_path)
    os.mkfifo(folder / "cat" / "pipe.png")
    (folder / "cat" / "device.png").symlink_to("/dev/zero")
    (folder / "cat" / "loop.png").symlink_to(folder / "cat" / "loop.png")
    (folder / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    notes = "\n".join(Dataset.from_folder(folder, 8).notes)
    assert "device.png and 1 more file are no pictures" in notes
    assert "There is no file" in notes
    assert "gone.png" in notes
    assert "loop.png" in notes


def test_a_link_to_the_folder_itself(tmp_path):
    folder = photographs(tmp_path / "pets")
    (folder / "cat" / "again").symlink_to(folder)
    with pytest.raises(DataError, match=r"cat holds a folder, again"):
        Dataset.from_folder(folder, 8)
    (folder / "cat" / "again").unlink()
    (folder / "again").symlink_to(folder)
    with pytest.raises(DataError, match=r"again holds a folder"):
        Dataset.from_folder(folder, 8)


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    folder, iterdir = photographs(tmp_path), Path.iterdir

    def refuse(self):
        if self.name == "dog":
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"dog cannot be read: Permission denied"):
        Dataset.from_folder(folder, 8)


def test_a_bomb_is_left_out_and_never_decoded(tmp_path, monkeypatch):
    folder = photographs(tmp_path)
    Image.new("1", (20_000, 20_000)).save(folder / "cat" / "bomb.png")

    def decode(self):
        assert self.width < 1000, "the bomb was decoded"
        return load(self)

    load = Image.Image.load
    monkeypatch.setattr(Image.Image, "load", decode)
    *_, note = Dataset.from_folder(folder, 8).notes
    assert "bomb.png has more than 120,000,000 pixels and was not decoded" in note


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    folder = photographs(tmp_path)
    (folder / "cat" / "drawing.eps").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nquit\n"
    )
    (note,) = Dataset.from_folder(folder, 8).notes
    assert "drawing.eps is no picture, going by the name" in note


@pytest.mark.parametrize("threads", [1, 5])
def test_threads_change_nothing(tmp_path, monkeypatch, threads):
    folder = photographs(tmp_path, count=9)
    (folder / "dog" / "4.png").write_bytes(b"broken")
    expected = Dataset.from_folder(folder, 8).fingerprint
    monkeypatch.setattr(pictures, "MOST_THREADS", threads)
    assert Dataset.from_folder(folder, 8).fingerprint == expected


def test_the_fingerprint_knows_which_images_are_for_validation(tmp_path):
    for part in ("train", "val", "test"):
        photographs(tmp_path / part)
    before = Dataset.from_folder(tmp_path, 8)
    (tmp_path / "val" / "dog" / "4.png").rename(tmp_path / "train" / "dog" / "9.png")
    after = Dataset.from_folder(tmp_path, 8)
    assert len(after.train_images) == len(before.train_images)
    assert after.fingerprint != before.fingerprint


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "8"])
def test_a_size_that_cannot_be(tmp_path, size):
    with pytest.raises(ConfigError, match="image_size is the side"):
        Dataset.from_folder(tmp_path, size)
    with pytest.raises(ConfigError, match="image_size is the side"):
        load_image(tmp_path / "0.png", size, 1)


def test_options_that_cannot_be(tmp_path):
    folder = photographs(tmp_path)
    with pytest.raises(ConfigError, match="colours expects"):
        Dataset.from_folder(folder, 8, colours="red")
    with pytest.raises(ConfigError, match="fit expects crop or squeeze"):
        Dataset.from_folder(folder, 8, fit="stretch")
    with pytest.raises(ConfigError, match="share"):
        Dataset.from_folder(folder, 8, test_share=1.5)
    assert Dataset.from_folder(folder, np.int64(8)).image_size == 8


def test_own_images_in_a_folder_of_a_known_name(tmp_path):
    folder = photographs(tmp_path / "digits")
    data = load_dataset("digits", folder, image_size=8)
    assert (data.name, data.is_own) == ("digits", True)
    assert not load_dataset("digits").is_own


def test_names_that_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    photographs(tmp_path / "~pets")
    photographs(tmp_path / "home" / "pets")
    assert len(load_dataset("own", "~pets", image_size=8).class_names) == 2
    assert load_dataset("own", "~/pets", image_size=8).source == str(tmp_path / "home" / "pets")
    with pytest.raises(DataError, match="There is no folder ~nobody-is-called-so"):
        load_dataset("own", "~nobody-is-called-so")


def test_without_a_home_folder(monkeypatch, tmp_path):
    def unknown(*_arguments):
        raise RuntimeError("Could not determine home directory.")

    for name in ("TINYMIXER_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", unknown)
    monkeypatch.setattr(Path, "expanduser", unknown)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cache_folder() == tmp_path / "tinymixer"
    assert expanded("~/pets") == Path("~/pets")
    with pytest.raises(DataError, match="is not here yet"):
        load_dataset("cifar10")
