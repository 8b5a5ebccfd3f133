"""The slice follows from the cache and the model, within the bounds between which speed was measured to be flat."""

import pytest

from tests.shaken import shaken
from tinymixer import MixerConfig
from tinymixer.engines.cpu import CpuMixer, cache
from tinymixer.engines.cpu.cache import Cache, largest_cache, linux_caches
from tinymixer.engines.cpu.slices import branch_numbers, choose_slice

NANO = MixerConfig()  # 64 tokens; 90,112 numbers an image in channel mixing, the larger branch


def machine(folder, **caches):
    for name, (kind, level, size, sharers) in caches.items():
        (folder / name).mkdir()
        for file, text in (("type", kind), ("level", level), ("size", size), ("shared_cpu_list", sharers)):
            (folder / name / file).write_text(f"{text}\n")
    return folder


def test_linux_tells_size_and_sharers(tmp_path):
    folder = machine(
        tmp_path, index0=("Data", 1, "32K", "0"), index1=("Instruction", 1, "64K", "0"),
        index2=("Unified", 2, "1024K", "0-1"), index3=("Unified", 3, "33M", "0-3,8,10-11"),
    )  # fmt: skip
    found = linux_caches(folder)
    assert found == [Cache(1, 32 << 10, 1), Cache(2, 1 << 20, 2), Cache(3, 33 << 20, 7)]
    assert str(found[1]) == "0.5 MiB of L2 cache a thread"


@pytest.mark.parametrize("size", ["", "many"])
def test_a_system_that_tells_nothing_of_use_is_an_unknown_cache(size, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.sys, "platform", "linux")
    monkeypatch.setattr(cache, "LINUX_CACHES", machine(tmp_path, index0=("Data", 1, size, "0")))
    largest_cache.cache_clear()
    assert largest_cache() is None
    largest_cache.cache_clear()


@pytest.mark.parametrize("output", ["16777216\n4\n", ""])
def test_macos_is_asked_by_sysctl(output, monkeypatch):
    def run(command, **options):
        return cache.subprocess.CompletedProcess(command, 0 if output else 1, output, "")

    monkeypatch.setattr(cache.sys, "platform", "darwin")
    monkeypatch.setattr(cache.subprocess, "run", run)
    largest_cache.cache_clear()
    assert largest_cache() == (Cache(2, 16 << 20, 4) if output else None)
    largest_cache.cache_clear()


@pytest.mark.parametrize(
    ("fitting", "images", "why"), [(100, 16, "not be faster"), (16, 16, ""), (6, 6, ""), (1, 4, "be slower")]
)
def test_as_many_images_as_fit_within_the_bounds(fitting, images, why):
    size = choose_slice(NANO, 4, Cache(3, fitting * branch_numbers(NANO) * 4, 1))
    assert size.images == images
    assert why in size.reason


def test_an_image_of_many_tokens_is_a_slice_by_itself():
    assert choose_slice(MixerConfig(image_size=128), 4, Cache(3, 1 << 30, 1)).images == 1


def test_an_unknown_cache_takes_the_measured_size():
    assert choose_slice(NANO, 4, None).images == 16


def test_a_forward_pass_takes_as_many_as_let_its_stream_fit_in_a_part_of_the_cache():
    stream = 64 * 128 * 4
    assert choose_slice(NANO, 4, Cache(3, 8 * 20 * stream, 1)).forward_images == 20
    assert choose_slice(NANO, 4, Cache(3, 1 << 20, 1)).forward_images == 4
    assert choose_slice(NANO, 4, Cache(3, 1 << 40, 1)).forward_images == 32


def test_a_size_that_is_asked_for_is_taken():
    assert CpuMixer(shaken(NANO, "float32"), 1, 3).slice_size.reason == "as asked for"
