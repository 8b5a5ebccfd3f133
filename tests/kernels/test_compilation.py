"""The .cu files as nvcc sees them, where it is installed; and what Python and CUDA must agree on."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.kernel_resources import ARCHITECTURES, NVCC, compile_kernels, table
from tests.kernels.emulator import IN_FLOAT, kernel_names
from tests.kernels.formats import NUMBERS
from tinymixer.engines.cuda.step_state import STEP_STATE
from tinymixer.errors import BackendError
from tinymixer.kernels.launch import RowLayout
from tinymixer.kernels.modules import OPTIONS, SOURCES, Kernels, source, translation_unit

needs_nvcc = pytest.mark.skipif(NVCC is None or not shutil.which("c++filt"), reason="nvcc is not installed")
FEW_SHAPES = (", 1, 16>", ", 1, 32>", ", 4, 32>")  # of a LayerNorm's row, in the fast suite


def assert_nothing_spills(names, architecture):
    found = compile_kernels(names, architecture)
    assert set(found) == set(names)
    assert {name: used.spilled for name, used in found.items() if used.spilled} == {}
    for name, used in found.items():
        if name.startswith("layer_norm_backward<"):  # as many blocks as `RowLayout.resident` says fit at once
            vector, pieces = map(int, name.split(", ")[1:3])
            assert 256 * used.registers * RowLayout(32, 8, pieces, vector).resident <= 65536, name


@needs_nvcc
@pytest.mark.parametrize(("number", "architecture"), list(zip(NUMBERS, (75, 90, 80), strict=True)))
def test_no_kernel_spills_registers(number, architecture):
    """To machine code: each kernel in one of the formats, each format for one architecture. All in the next test."""
    left_out = {name for name in kernel_names(number) if name.startswith("layer_norm") and name.count(",") == 3}
    left_out -= {name for name in left_out if name.endswith(FEW_SHAPES)}
    names = [name for name in kernel_names(number) if name not in left_out]
    by_kernel = {kernel: i for i, kernel in enumerate(sorted({name.split("<")[0] for name in names} - set(IN_FLOAT)))}
    mine = NUMBERS.index(number)
    assert_nothing_spills([n for n in names if by_kernel.get(n.split("<")[0], 0) % len(NUMBERS) == mine], architecture)


@needs_nvcc
@pytest.mark.peers
@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("number", NUMBERS)
def test_no_kernel_spills_registers_on_any_architecture(number, architecture):
    assert_nothing_spills(kernel_names(number), architecture)


@needs_nvcc
def test_the_documented_registers_are_those_of_this_code():
    """One column of the table in docs/gpu.md; `python -m benchmarks.kernel_resources` makes it anew."""
    page = Path(__file__).parents[2].joinpath("docs/gpu.md").read_text(encoding="utf-8")
    page = page.split("### What the compiler makes of them")[1].split("\n## ")[0]
    documented = dict(re.findall(r"^\| `([^`]+)` \| \d+ \| (?:[^|]+\| ){2}(\d+)", page, re.M))
    made = {line.split("`")[1]: line.split("|")[3].strip() for line in table("nano", "bfloat16", [90]).splitlines()[2:]}
    if "release 13.0" in subprocess.run([str(NVCC), "--version"], capture_output=True, text=True, check=True).stdout:
        assert documented == made
    assert set(documented) == set(made)


@needs_nvcc
def test_the_hardware_tanh_is_used_in_16_bits(tmp_path):
    code = tmp_path / "kernels.cu"
    names = [f"bias_gelu_forward_columns<__half, 8, {gelu}>" for gelu in ("FastTanhGelu", "TanhGelu")]
    code.write_text(f"{translation_unit(['gelu'])}\nvoid* table[] = {{{', '.join('(void*)' + n for n in names)}}};\n")
    command = [NVCC, "-std=c++17", "-arch=sm_90", "-ptx", "-o", str(tmp_path / "k"), str(code)]
    subprocess.run(command, check=True, capture_output=True)
    fast, exact = sorted((tmp_path / "k").read_text().split(".entry")[1:], key=lambda text: "FastTanh" not in text)
    assert "tanh.approx.f32" in fast
    assert "tanh.approx.f32" not in exact
    assert "ld.global.v4" in fast  # 16 bytes at once
    assert "st.global.v4" in fast


def test_the_state_has_the_same_fields_in_the_same_order():
    body = re.search(r"struct StepState \{(.*?)\};", source("common.cuh"), re.S).group(1)
    found = re.findall(r"^\s*(int64|double|float|int) (\w+);", body, re.M)
    kinds = {"int64": np.int64, "double": np.float64, "float": np.float32, "int": np.int32}
    assert [(name, np.dtype(kinds[kind])) for kind, name in found] == [
        (name, STEP_STATE[name]) for name in STEP_STATE.names
    ]
    assert STEP_STATE.itemsize % 8 == 0  # no padding at the end


def test_every_source_is_used_and_every_kernel_is_emulated():
    text = "".join(source(f"{name}.cu") for name in SOURCES)
    kernels = set(re.findall(r"__global__ void (?:__launch_bounds__\(.*?\) )?(\w+)\(", text))
    assert {name.split("<")[0] for name in kernel_names("float")} == kernels


def test_an_argument_of_unknown_size_is_refused():
    kernels = object.__new__(Kernels)
    kernels._functions = {"f": lambda *arguments, **keywords: None}
    from tinymixer.kernels.launch import flat

    with pytest.raises(TypeError, match=r"np\.int32"):
        kernels.launch("f", flat(1), 3)
    kernels.launch("f", flat(1), np.int32(3), None)


def test_an_array_that_is_not_in_c_order_is_refused():
    kernels, x = object.__new__(Kernels), np.zeros((2, 3), np.float32)
    kernels._functions = {"f": lambda *arguments, **keywords: None}
    from tinymixer.kernels.launch import flat

    kernels.launch("f", flat(1), x, x[1:], x[:, :1][:1])
    for other in (x.T, x[:, ::2], x[::-1], np.broadcast_to(x[:1], (2, 3))):
        with pytest.raises(ValueError, match=r"C order.*strides of .* copy it"):
            kernels.launch("f", flat(1), x, other)


def test_a_kernel_that_cannot_be_compiled_is_a_sentence():
    class Cupy:
        class cuda:  # noqa: N801
            class compiler:  # noqa: N801
                class CompileException(Exception):  # noqa: N818
                    pass

        @staticmethod
        def RawModule(**keywords):  # noqa: N802
            raise RuntimeError("libnvrtc.so.13: cannot open shared object file\nmore")

    with pytest.raises(BackendError, match=r"cannot be compiled \(libnvrtc.so.13: .*\): install CUDA's headers"):
        Kernels(Cupy, ["f<float>"])


@pytest.mark.parametrize("number", NUMBERS)
def test_nvrtc_compiles_every_kernel(number):
    """As CuPy does it, through names of template instances; needs NVRTC (not a GPU) and CUDA's headers."""
    nvrtc = pytest.importorskip("cuda.bindings.nvrtc")
    headers = Path("/usr/local/cuda/include")
    if not headers.joinpath("cuda_fp16.h").exists():
        pytest.skip("CUDA's headers are not installed")
    names = [name.encode() for name in kernel_names(number)]
    program = nvrtc.nvrtcCreateProgram(translation_unit().encode(), b"kernels.cu", 0, [], [])[1]
    for name in names:
        nvrtc.nvrtcAddNameExpression(program, name)
    options = [*(option.encode() for option in OPTIONS), b"--gpu-architecture=sm_90", f"-I{headers}".encode()]
    (result,) = nvrtc.nvrtcCompileProgram(program, len(options), options)
    log = b" " * nvrtc.nvrtcGetProgramLogSize(program)[1]
    nvrtc.nvrtcGetProgramLog(program, log)
    assert result == nvrtc.nvrtcResult.NVRTC_SUCCESS, log.decode()
    for name in names:
        assert nvrtc.nvrtcGetLoweredName(program, name)[0] == nvrtc.nvrtcResult.NVRTC_SUCCESS, name
