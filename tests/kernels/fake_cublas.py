"""cuBLAS and cuBLASLt as nvmath-python binds them, on host memory: part of the stand-in `fake_cupy`.

Checked on the way is what the libraries' documentation asks for: handles with a stream and a workspace, combinations
of number formats, leading dimensions, sizes of attributes, alignments, and what each epilogue needs.
"""

import ctypes
import enum
from types import ModuleType

import numpy as np

from tests.kernels.fake_cuda import Stream
from tests.kernels.formats import packed, unpacked
from tinymixer import ops
from tinymixer.kernels import precision as codes

NUMBER = {codes.CUDA_R_32F: "float", codes.CUDA_R_16F: "__half", codes.CUDA_R_16BF: "__nv_bfloat16"}
STORAGE = {codes.CUDA_R_32F: np.float32, codes.CUDA_R_16F: np.float16, codes.CUDA_R_16BF: np.uint16}
FULL, HALF, BRAIN = codes.CUDA_R_32F, codes.CUDA_R_16F, codes.CUDA_R_16BF
COMBINATIONS = {  # of factors' and result's formats, by compute type
    codes.COMPUTE_32F: {(FULL, FULL), (HALF, HALF), (HALF, FULL), (BRAIN, BRAIN), (BRAIN, FULL)},
    codes.COMPUTE_32F_FAST_TF32: {(FULL, FULL)},
}
LAUNCHES: list[str] = []  # names, in order, of what was launched or recorded since it was last cleared


def column_major(pointer, data_type, rows, columns, leading):
    """A view of a column-major matrix in memory, as rows of its columns: (columns, rows)."""
    assert leading >= rows, "the leading dimension is smaller than a column"
    dtype = np.dtype(STORAGE[data_type])
    assert pointer, "a null pointer"
    assert pointer % dtype.itemsize == 0, "a pointer between two elements"
    count = (columns - 1) * leading + rows
    memory = (ctypes.c_char * (count * dtype.itemsize)).from_address(pointer)
    return np.ndarray((columns, rows), dtype, memory, strides=(leading * dtype.itemsize, dtype.itemsize))


def _float_at(pointer):
    """alpha or beta: on the host, float32 for every compute type used here."""
    return ctypes.c_float.from_address(pointer).value


def make_cublas():
    cublas, handles = ModuleType("nvmath.bindings.cublas"), {}
    cublas.cuBLASError = type("cuBLASError", (Exception,), {})

    def create():
        handles[len(handles) + 1] = {}
        return len(handles)

    def destroy(handle):
        del handles[handle]

    def set_stream(handle, stream_id):
        handles[handle] = {"stream": stream_id}  # "unconditionally resets the workspace to the default pool"

    def set_workspace(handle, workspace, workspace_size_in_bytes):
        assert workspace % 256 == 0, "the workspace must be aligned to 256 bytes"
        handles[handle]["workspace"] = workspace_size_in_bytes

    def gemm_ex(
        handle, transa, transb, m, n, k, alpha, a, atype, lda, b, btype, ldb, beta, c, ctype, ldc, compute_type, algo
    ):
        assert set(handles[handle]) == {"stream", "workspace"}, "set the stream, then the workspace, before a product"
        assert handles[handle]["stream"] == Stream.current.ptr, "this handle belongs to another stream"
        assert {transa, transb} <= {0, 1}
        assert atype == btype
        assert (atype, ctype) in COMBINATIONS[compute_type], "CUBLAS_STATUS_NOT_SUPPORTED"
        assert algo == -1
        assert max(m, n, k, lda, ldb, ldc) < 2**31

        def work():
            scale, add = _float_at(alpha), _float_at(beta)
            left = column_major(a, atype, k if transa else m, m if transa else k, lda).T
            right = column_major(b, btype, n if transb else k, k if transb else n, ldb).T
            left, right = (unpacked(x, NUMBER[atype]).astype(np.float32) for x in (left, right))
            out = column_major(c, ctype, m, n, ldc)
            with np.errstate(all="ignore"):  # overflows are the kernels' business
                product = scale * ((left.T if transa else left) @ (right.T if transb else right))
                if add:
                    product = product + add * unpacked(out, NUMBER[ctype]).T
                out[...] = packed(product.T, NUMBER[ctype])

        Stream.current.do(work)

    def gemm_strided_batched_ex(
        handle, transa, transb, m, n, k, alpha, a, atype, lda, stride_a, b, btype, ldb, stride_b, beta, c, ctype, ldc,
        stride_c, batch_count, compute_type, algo,
    ):  # fmt: skip
        assert batch_count >= 1
        sizes = [np.dtype(STORAGE[kind]).itemsize for kind in (atype, btype, ctype)]
        assert stride_c >= (n - 1) * ldc + m, "results overlap"
        for i in range(batch_count):
            strides = (stride_a, stride_b, stride_c)
            at = [p + i * stride * size for p, stride, size in zip((a, b, c), strides, sizes, strict=True)]
            gemm_ex(
                handle, transa, transb, m, n, k, alpha, at[0], atype, lda, at[1], btype, ldb, beta, at[2], ctype, ldc,
                compute_type, algo,
            )  # fmt: skip

    for function in (create, destroy, set_stream, set_workspace, gemm_ex, gemm_strided_batched_ex):
        setattr(cublas, function.__name__, function)
    return cublas


class Epilogue(enum.IntEnum):
    GELU_AUX_BIAS, DGELU, BGRADA = 164, 192, 256


class MatmulDescAttribute(enum.IntEnum):
    TRANSA, TRANSB, EPILOGUE, BIAS_POINTER, EPILOGUE_AUX_POINTER, EPILOGUE_AUX_LD = 3, 4, 7, 8, 11, 12


class MatmulPreferenceAttribute(enum.IntEnum):
    MAX_WORKSPACE_BYTES, MIN_ALIGNMENT_A_BYTES, MIN_ALIGNMENT_B_BYTES = 1, 5, 6
    MIN_ALIGNMENT_C_BYTES, MIN_ALIGNMENT_D_BYTES = 7, 8


DESCRIPTION_TYPES = {
    MatmulDescAttribute.TRANSA: np.int32,
    MatmulDescAttribute.TRANSB: np.int32,
    MatmulDescAttribute.EPILOGUE: np.uint32,
    MatmulDescAttribute.BIAS_POINTER: np.int64,
    MatmulDescAttribute.EPILOGUE_AUX_POINTER: np.int64,
    MatmulDescAttribute.EPILOGUE_AUX_LD: np.int64,
}
PREFERENCE_TYPES = dict.fromkeys(MatmulPreferenceAttribute, np.uint32) | {
    MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES: np.uint64
}
HEURISTIC_RESULT = np.dtype(
    [
        ("algo", np.dtype([("data_", "<u8", (8,))])),
        ("workspace_size", "<u8"),
        ("state", "<i4"),
        ("waves_count", "<f4"),
        ("reserved", "<i4", (4,)),
    ]
)
PROPOSED = 2  # algorithms


class _Descriptors(dict):
    """Opaque objects by number: what they were created with, and their attributes."""

    def create(self, *fields):
        self[number := max(self, default=0) + 1] = {"fields": fields}
        return number

    def set(self, which, attr, buf, size_in_bytes, types):
        kind = np.dtype(types[attr])
        assert size_in_bytes == kind.itemsize, f"{attr!r} has {kind.itemsize} bytes, got {size_in_bytes}"
        self[which][attr] = int(np.frombuffer(ctypes.string_at(buf, size_in_bytes), kind)[0])


def make_cublaslt():
    """Descriptors of attributes, and three epilogues on column-major matrices."""
    lt, objects = ModuleType("nvmath.bindings.cublasLt"), _Descriptors()
    lt.Epilogue, lt.MatmulDescAttribute = Epilogue, MatmulDescAttribute
    lt.MatmulPreferenceAttribute = MatmulPreferenceAttribute
    lt.cuBLASLtError = type("cuBLASLtError", (Exception,), {})
    lt.matmul_heuristic_result_dtype = HEURISTIC_RESULT

    def create():
        return objects.create("handle")

    def destroy(light_handle):
        del objects[light_handle]

    def get_version():
        return 130000

    def matmul_desc_create(compute_type, scale_type):
        assert scale_type == codes.CUDA_R_32F
        return objects.create(compute_type)

    def matmul_desc_set_attribute(matmul_desc, attr, buf, size_in_bytes):
        objects.set(matmul_desc, attr, buf, size_in_bytes, DESCRIPTION_TYPES)

    def matmul_preference_create():
        return objects.create("preference")

    def matmul_preference_set_attribute(pref, attr, buf, size_in_bytes):
        objects.set(pref, attr, buf, size_in_bytes, PREFERENCE_TYPES)

    def matmul_preference_destroy(pref):
        del objects[pref]

    def matrix_layout_create(type, rows, cols, ld):
        assert ld >= rows, "columns overlap"
        return objects.create(type, rows, cols, ld)

    def require_fit(compute_desc, adesc, bdesc, ddesc):
        """What cublasLtMatmul's documentation asks of a problem."""
        said, kinds = objects[compute_desc], [objects[x]["fields"][0] for x in (adesc, bdesc, ddesc)]
        a, b, d = (objects[x]["fields"][1:3] for x in (adesc, bdesc, ddesc))
        a = a[::-1] if said[MatmulDescAttribute.TRANSA] else a
        b = b[::-1] if said[MatmulDescAttribute.TRANSB] else b
        assert (a[0], b[1], a[1]) == (*d, b[0]), f"{a} by {b} is not {d}"
        assert kinds[0] == kinds[1]
        assert (kinds[0], kinds[2]) in COMBINATIONS[said["fields"][0]], "CUBLAS_STATUS_NOT_SUPPORTED"
        epilogue = said[MatmulDescAttribute.EPILOGUE]
        if epilogue in (Epilogue.GELU_AUX_BIAS, Epilogue.BGRADA):  # of the result's format
            assert said[MatmulDescAttribute.BIAS_POINTER] % np.dtype(STORAGE[kinds[2]]).itemsize == 0
        if epilogue in (Epilogue.GELU_AUX_BIAS, Epilogue.DGELU):
            assert said[MatmulDescAttribute.EPILOGUE_AUX_POINTER] % 16 == 0
            assert said[MatmulDescAttribute.EPILOGUE_AUX_LD] % 8 == 0
            assert said[MatmulDescAttribute.EPILOGUE_AUX_LD] >= d[0]

    def matmul_algo_get_heuristic(
        light_handle, operation_desc, adesc, bdesc, cdesc, ddesc, preference, requested_algo_count,
        heuristic_results_array, return_algo_count,
    ):  # fmt: skip
        assert light_handle in objects
        assert cdesc == ddesc
        require_fit(operation_desc, adesc, bdesc, ddesc)
        found = np.zeros(requested_algo_count, HEURISTIC_RESULT)
        for i in range(PROPOSED):
            found["algo"]["data_"][i, :3] = operation_desc, preference, i
            for attribute in PREFERENCE_TYPES:
                found["algo"]["data_"][i, 3] = max(found["algo"]["data_"][i, 3], objects[preference].get(attribute, 0))
        ctypes.memmove(heuristic_results_array, found.ctypes.data, found.nbytes)
        ctypes.c_int32.from_address(return_algo_count).value = PROPOSED

    def matmul(
        light_handle, compute_desc, alpha, a, adesc, b, bdesc, beta, c, cdesc, d, ddesc, algo, workspace,
        workspace_size_in_bytes, stream,
    ):  # fmt: skip
        assert light_handle in objects
        assert (_float_at(alpha), _float_at(beta)) == (1, 0)
        assert stream == Stream.current.ptr
        assert workspace % 256 == 0
        assert (c, cdesc) == (d, ddesc)
        require_fit(compute_desc, adesc, bdesc, ddesc)
        chosen = np.frombuffer(ctypes.string_at(algo, 64), np.uint64)
        assert chosen[0] == compute_desc, "an algorithm of another product"
        assert workspace_size_in_bytes == chosen[3], "less workspace than the heuristic was promised"
        for pointer in (a, b, d):
            assert pointer % 16 == 0, "the heuristic was promised addresses aligned to 16 bytes"
        said = dict(objects[compute_desc])

        def matrix(pointer, layout, transposed=False):
            kind, rows, columns, leading = objects[layout]["fields"]
            values = unpacked(column_major(pointer, kind, rows, columns, leading).T, NUMBER[kind])
            return values.T if transposed else values

        def work():
            left = matrix(a, adesc, said[MatmulDescAttribute.TRANSA])
            right = matrix(b, bdesc, said[MatmulDescAttribute.TRANSB])
            with np.errstate(all="ignore"):
                finish(left, left.astype(np.float64) @ right.astype(np.float64))  # (rows, columns)

        def finish(left, product):
            kind, rows, columns, leading = objects[ddesc]["fields"]
            epilogue, bias_at = said[MatmulDescAttribute.EPILOGUE], said.get(MatmulDescAttribute.BIAS_POINTER)
            if epilogue == Epilogue.BGRADA:
                bias = column_major(bias_at, kind, rows, 1, rows)[0]
                bias[...] = packed(left.astype(np.float64).sum(axis=1), NUMBER[kind])
            else:
                aux_at, aux_ld = (said[MatmulDescAttribute[f"EPILOGUE_AUX_{x}"]] for x in ("POINTER", "LD"))
                aux = column_major(aux_at, kind, rows, columns, aux_ld)
            if epilogue == Epilogue.GELU_AUX_BIAS:
                product = product + unpacked(column_major(bias_at, kind, rows, 1, rows)[0], NUMBER[kind])[:, None]
                aux[...] = packed(product.T, NUMBER[kind])
                product = ops.gelu_tanh_forward(product)[0]
            elif epilogue == Epilogue.DGELU:
                z = unpacked(aux, NUMBER[kind]).T.astype(np.float64)
                product = ops.gelu_tanh_backward(product, ops.gelu_tanh_forward(z)[1])
            column_major(d, kind, rows, columns, leading)[...] = packed(product.T, NUMBER[kind])

        LAUNCHES.append(f"cublasLt {Epilogue(said[MatmulDescAttribute.EPILOGUE]).name}")
        Stream.current.do(work)

    for function in (
        create, destroy, get_version, matmul_desc_create, matmul_desc_set_attribute, matmul_preference_create,
        matmul_preference_set_attribute, matmul_preference_destroy, matrix_layout_create, matmul_algo_get_heuristic,
        matmul,
    ):  # fmt: skip
        setattr(lt, function.__name__, function)
    return lt
