"""What the compiler makes of the tile kernels, where it is installed; and what is done with what it says."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.fake_cutile import Usage, elf, fake_cutile, make_cutile
from tinymixer.kernels.precision import get_precision
from tinymixer.kernels.tiles.compiler import TileError, compile_best, compile_launch
from tinymixer.kernels.tiles.cubin import read_cubin
from tinymixer.kernels.tiles.on_numpy import NumpyTiles
from tinymixer.kernels.tiles.tile_kernels import TileKernel
from tinymixer.kernels.tiles.tile_sizes import (
    BACKWARD,
    FORWARD,
    KINDS,
    MOST_SPILLS,
    SHARED_BYTES,
    MlpSizes,
    candidates,
    obstacle,
)

NANO = MlpSizes(S=64, C=128, DS=64, DC=512, images=512, multiprocessors=132)
BF16 = get_precision("bfloat16")
NAMES = [name for kind in KINDS for name in (*FORWARD[kind], *BACKWARD[kind])]


def described():
    """The rows of docs/gpu.md's table: (architecture, kernel) -> tile, KiB of shared memory, bytes of stack."""
    text = Path(__file__).parents[3].joinpath("docs", "gpu.md").read_text(encoding="utf-8")
    row = re.compile(r"^\| (sm_\d+) \| `(\w+)` \| ([\d x]+) \| ([\d.]+) \| (\d+) \|", re.M)
    return {
        (architecture, name): (tuple(map(int, tile.split(" x "))), float(shared), int(stack))
        for architecture, name, tile, shared, stack in row.findall(text)
    }


@pytest.mark.peers
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90", "sm_100", "sm_120"])
def test_the_compiler_makes_what_the_page_says(architecture, name):
    """Needs cuda-tile[tileiras], no GPU; some seconds a kernel."""
    pytest.importorskip("cuda.tile", exc_type=ImportError)
    tile, shared, stack = described()[architecture, name]
    (launch,) = [launch for launch in candidates(name, NANO, architecture) if launch.tile == tile]
    cubin = compile_launch(launch, BF16, architecture)
    assert cubin.shared <= SHARED_BYTES[architecture]
    assert cubin.shared / 1024 == pytest.approx(shared, rel=0.05)  # another version of the compiler may differ
    assert cubin.stack <= max(stack, 64)


def test_the_page_has_every_kernel_within_every_limit():
    rows = described()
    assert set(rows) == {(a, name) for a in ("sm_80", "sm_90", "sm_100", "sm_120") for name in NAMES}
    for (architecture, name), (tile, shared, stack) in rows.items():
        assert tile in {launch.tile for launch in candidates(name, NANO, architecture)}
        assert shared * 1024 <= SHARED_BYTES[architecture]
        assert stack <= MOST_SPILLS


@pytest.mark.peers
def test_the_stand_ins_take_what_the_real_packages_do():
    """Names that the kernels use, and arguments of the functions that compile, load and launch."""
    ct = pytest.importorskip("cuda.tile", exc_type=ImportError)
    from cuda.tile import compilation

    stand_in = {name for name in vars(NumpyTiles) if not name.startswith("_")}
    assert stand_in - set(dir(ct)) == set()
    assert callable(ct.launch)  # `NumpyTiles.launch` has other arguments: it is called by tests and lessons alone
    assert ct.RoundingMode.APPROX is not None
    ours = make_cutile()["cuda.tile.compilation"]
    real = list(inspect.signature(compilation.export_kernel).parameters)
    assert set(inspect.signature(ours.export_kernel).parameters) <= set(real)
    (launch, *_) = candidates("channel_backward_weights", NANO, "sm_90")
    assert compile_launch(launch, BF16, "sm_90").symbol == launch.name


@pytest.mark.peers
def test_cupy_loads_and_launches_as_the_stand_in_does():
    cupy = pytest.importorskip("cupy", exc_type=ImportError)
    assert "(self, bytes cubin)" in cupy.cuda.function.Module.load.__doc__
    assert "(self, name)" in cupy.cuda.function.Module.get_function.__doc__
    assert callable(cupy.cuda.function.Function.__call__)


# ------------------------------------------------------------------------------------------ without the compiler


def test_a_cubin_says_what_it_takes():
    cubin = read_cubin(elf("token_forward", Usage(shared=66_864, registers=255, stack=48), 7), "token_forward")
    assert (cubin.shared, cubin.registers, cubin.stack) == (66_864, 255, 48)
    with pytest.raises(ValueError, match="no kernel channel_forward"):
        read_cubin(cubin.code, "channel_forward")
    for damaged in (b"", b"not ELF" * 20, cubin.code[:200]):
        with pytest.raises(ValueError, match="the compiled file is no"):
            read_cubin(damaged, "token_forward")


def test_the_first_tile_that_hardly_spills_is_taken(monkeypatch):
    launches = candidates("token_backward", NANO, "sm_90")
    assert [launch.tile for launch in launches] == [(128,), (64,), (32,), (16,)]
    stacks, asked = iter([800, 48, 0]), []

    def usage(name, architecture):
        asked.append(architecture)
        return Usage(stack=next(stacks))

    with fake_cutile(monkeypatch, usage=usage):
        launch, cubin = compile_best(launches, BF16, "sm_90")
    assert (launch.tile, cubin.stack, asked) == ((64,), 48, ["sm_90", "sm_90"])


def test_the_one_that_spills_least_is_taken_and_one_that_spills_much_never(monkeypatch):
    launches = candidates("token_backward", NANO, "sm_90")
    for stacks, chosen in (([800, 500, 300, 2000], (32,)), ([2000, 1025, 1025, 1025], None)):
        left = iter(stacks)
        with fake_cutile(monkeypatch, usage=lambda *_, left=left: Usage(stack=next(left))):
            if chosen is None:
                with pytest.raises(TileError, match="needs more shared memory or registers than sm_90 has"):
                    compile_best(launches, BF16, "sm_90")
            else:
                assert compile_best(launches, BF16, "sm_90")[0].tile == chosen


def test_what_is_tried_fits_the_sizes_and_the_registers():
    odd = MlpSizes(S=64, C=16, DS=64, DC=64, images=3, multiprocessors=132)  # 48 columns
    assert [launch.tile for launch in candidates("token_forward", odd, "sm_90")] == [(16,)]
    assert candidates("channel_forward", odd, "sm_90")[0].tile == (64, 64)  # 192 rows
    wide = MlpSizes(S=64, C=512, DS=256, DC=2048, images=1024, multiprocessors=132)
    assert candidates("token_backward", wide, "sm_80") == []
    assert candidates("token_backward", wide, "sm_90") != []
    assert candidates("channel_forward", wide, "sm_90") == []
    with pytest.raises(TileError, match="no tile divides these sizes"):
        compile_best([], BF16, "sm_90")


def test_every_block_of_the_gpu_has_work():
    (backward, *_) = candidates("token_backward", NANO, "sm_90")
    assert backward.grid == (132,)
    assert backward.arrays[-3].shape == (132, 64, 64)
    (weights, *_) = candidates("channel_backward_weights", NANO, "sm_90")
    assert weights.grid == (8, 16)
    assert weights.arrays[-3].shape == (16, 128, 512)


def test_a_kernel_refuses_arrays_of_other_shapes(monkeypatch):
    class Module:
        def load(self, cubin):
            pass

        def get_function(self, name):
            return lambda *arguments: None

    class Cupy:
        class cuda:  # noqa: N801
            class function:  # noqa: N801
                pass

    Cupy.cuda.function.Module = Module
    (launch, *_) = candidates("token_forward", NANO, "sm_90")
    kernel = TileKernel(Cupy, launch, read_cubin(elf("token_forward", Usage(), 0), "token_forward"))
    with pytest.raises(ValueError, match=r"token_forward takes arrays of shapes \[\(64, 65536\), \(64, 64\)"):
        kernel(*(np.zeros((2, 2)) for _ in range(5)))


def test_who_is_left_to_the_products():
    """By precision, GELU, dropout and GPU; and by a batch whose activations cannot be counted in 32 bits."""
    assert "more micro-batches" in obstacle(MlpSizes(64, 128, 64, 512, 1 << 18, 132), BF16, "tanh", 0.0, "sm_90")
    assert obstacle(NANO, BF16, "tanh", 0.0, "sm_90") is None
    for precision, gelu, dropout, architecture in (
        ("float32", "tanh", 0.0, "sm_90"), ("tf32", "tanh", 0.0, "sm_90"), ("bfloat16", "erf", 0.0, "sm_90"),
        ("bfloat16", "tanh", 0.1, "sm_90"), ("float16", "tanh", 0.0, "sm_75"),
    ):  # fmt: skip
        assert obstacle(NANO, get_precision(precision), gelu, dropout, architecture) is not None
