"""Reading the Python batches of CIFAR-10 and CIFAR-100 without running anything in them.

A pickle is a program for a small machine with a stack and a memo, and it may call any function that it can name. The
official batches name three functions, all of NumPy, to rebuild one array; batches written by Python 3 in protocol 2
store bytes as text and name a fourth, which encodes it. This module is a machine of our own. It knows only the
instructions that such files use, and where the pickle calls a function it stores an inert record instead: no function
ever runs for the pickle.

Its memory use is bounded by the file's size: the memo is a dictionary (not an array as long as its largest number),
dictionary keys are plain values or records (so hashing one is cheap), and the nesting of containers is limited.
"""

import pickletools
from collections.abc import Callable
from typing import Any

import numpy as np

from tinymixer.borders import guarded
from tinymixer.errors import DataError

# NumPy pickles an array with `_reconstruct` in protocols 2 to 4 and `_frombuffer` in 5; NumPy 2 renamed `core` `_core`.
_ADMITTED = {
    ("numpy", "dtype"),
    ("numpy", "ndarray"),
    ("numpy.core.multiarray", "_reconstruct"),
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy.core.numeric", "_frombuffer"),
    ("numpy._core.numeric", "_frombuffer"),
    ("_codecs", "encode"),
}
MOST_INSTRUCTIONS = 3_000_000  # the largest official file, CIFAR-100's training images, has about 500,000
MOST_ARGUMENTS = 8  # of a call, and items of an array's state
DEEPEST = 16  # open marks, and levels of nested containers


class _NotABatchError(ValueError):
    """The pickle is refused; the message completes the sentence "FILE is not a batch of CIFAR-10: ..."."""


class _Record:
    """Stands in for a NumPy object: stores the arguments and the state that the pickle gives it, and runs no code."""

    def __init__(self, *arguments: object) -> None:
        self.arguments = arguments
        self.state: object = None


class _Name:
    """Stands in for a function or class that the pickle names. Raises _NotABatchError for one not in `_ADMITTED`."""

    def __init__(self, module_name: object, global_name: object) -> None:
        if (module_name, global_name) not in _ADMITTED:
            raise _NotABatchError(f"it asks for {module_name}.{global_name}, which no such batch needs")
        self.is_encode = module_name == "_codecs"


MARK = object()


class _Machine:
    """The stack, the memo and the instructions. Only plain values, records and names are ever put on the stack."""

    def __init__(self, content: bytes) -> None:
        self.content, self.letters_left = content, len(content)
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.depths: dict[int, int] = {}  # id of a container -> its levels of nesting
        self.kept: list[Any] = []  # keeps every container alive, so that no id is used twice
        self.closed: set[int] = set()  # ids of the containers that lie in another one: no longer changed
        self.marks = 0

    def run(self) -> object:
        """Run the pickle and return its value.

        Raises _NotABatchError for an instruction or a name that no batch needs, other errors for a damaged file.
        """
        for count, (opcode, argument, _) in enumerate(pickletools.genops(self.content)):
            if count > MOST_INSTRUCTIONS:
                raise _NotABatchError(f"it has over {MOST_INSTRUCTIONS:,} instructions")
            if opcode.name in VALUES:
                # Python 2's text is bytes, which pickletools gives as Latin-1.
                self.stack.append(str(argument).encode("latin-1") if opcode.name in PYTHON2_TEXT else argument)
            elif opcode.name == "STOP":
                return self.pop()
            elif opcode.name in INSTRUCTIONS:
                INSTRUCTIONS[opcode.name](self, argument)
            else:
                raise _NotABatchError(f"it has the instruction {opcode.name}, which no such batch needs")
        raise _NotABatchError("it ends too early")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is MARK:
            raise _NotABatchError("its instructions do not fit together")
        return value

    def mark(self, _: object) -> None:
        self.marks += 1
        if self.marks > DEEPEST:
            raise _NotABatchError("it is nested too deeply")
        self.stack.append(MARK)

    def since_mark(self) -> list[Any]:
        place = len(self.stack) - 1
        while self.stack[place] is not MARK:
            place -= 1
            if place < 0:
                raise _NotABatchError("its instructions do not fit together")
        values = self.stack[place + 1 :]
        del self.stack[place:]
        self.marks -= 1
        return values

    def put(self, container: Any, inside: Any = ()) -> None:
        """Put a new container on the stack; `inside` are the values that it holds."""
        self.kept.append(container)
        self.depths[id(container)] = 0
        self.stack.append(container)
        self.deepen(container, inside)

    def deepen(self, container: Any, inside: Any) -> None:
        """Record the container's nesting now that it also holds the values `inside`.

        Those of them that are containers are closed: were they to change later, this depth would be wrong.
        Raises _NotABatchError when the nesting is too deep.
        """
        inner = [id(value) for value in inside if id(value) in self.depths]
        depth = 1 + max((self.depths[key] for key in inner), default=0)
        self.closed.update(inner)
        self.depths[id(container)] = max(depth, self.depths[id(container)])
        if depth > DEEPEST:
            raise _NotABatchError("it is nested too deeply")

    def last(self, kind: type) -> Any:
        """Return the container on top of the stack. Raises _NotABatchError unless it is an open one of this kind."""
        if not self.stack or type(self.stack[-1]) is not kind or id(self.stack[-1]) in self.closed:
            raise _NotABatchError("its instructions do not fit together")
        return self.stack[-1]

    def tuple_of(self, count: int) -> None:
        values = [self.pop() for _ in range(count)][::-1]
        self.put(tuple(values), values)

    def extend(self, values: list[Any]) -> None:
        target = self.last(list)
        self.deepen(target, values)
        target.extend(values)

    def dictionary(self, values: list[Any]) -> None:
        self.put({})
        self.update(values)

    def update(self, values: list[Any]) -> None:
        target = self.last(dict)
        self.deepen(target, values)
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (str, bytes, int, _Record):
                raise _NotABatchError("it has a dictionary whose keys are not names")
            target[key] = value

    def remember(self, number: int) -> None:
        if not self.stack:
            raise _NotABatchError("its instructions do not fit together")
        self.memo[number] = self.stack[-1]

    def recall(self, number: int) -> None:
        if number not in self.memo:
            raise _NotABatchError(f"it recalls number {number}, which it never kept")
        self.stack.append(self.memo[number])

    def name(self, module_name: object, global_name: object) -> None:
        self.stack.append(_Name(module_name, global_name))

    def reduce(self, _: object) -> None:
        arguments, called = self.pop(), self.pop()
        if type(called) is not _Name or type(arguments) is not tuple or len(arguments) > MOST_ARGUMENTS:
            raise _NotABatchError("it calls what is no name")
        match arguments:
            case (str(text), "latin1" | "latin-1") if called.is_encode:
                # Python 3 writes bytes like this in protocol 2. Encoding more text than the file holds would be a bomb.
                self.letters_left -= len(text)
                if self.letters_left < 0:
                    raise _NotABatchError("it encodes more text than it has")
                self.stack.append(text.encode("latin-1"))
            case _:
                self.put(_Record(*arguments), arguments)

    def build(self, _: object) -> None:
        state, target = self.pop(), self.pop()
        if not isinstance(target, _Record) or type(state) is not tuple or len(state) > MOST_ARGUMENTS:
            raise _NotABatchError("it sets the state of something that is not an array")
        target.state = state
        self.stack.append(target)


# VALUES are the instructions that put their argument on the stack; PYTHON2_TEXT those whose argument is Python 2 text.
PYTHON2_TEXT = {"STRING", "BINSTRING", "SHORT_BINSTRING"}
VALUES = PYTHON2_TEXT | {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
INSTRUCTIONS: dict[str, Callable[[_Machine, Any], object]] = {
    "PROTO": lambda machine, version: None,
    "FRAME": lambda machine, length: None,
    "NONE": lambda machine, _: machine.stack.append(None),
    "NEWTRUE": lambda machine, _: machine.stack.append(True),
    "NEWFALSE": lambda machine, _: machine.stack.append(False),
    "MARK": _Machine.mark,
    "EMPTY_TUPLE": lambda machine, _: machine.put(()),
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "TUPLE": lambda machine, _: machine.put(tuple(values := machine.since_mark()), values),
    "EMPTY_LIST": lambda machine, _: machine.put([]),
    "LIST": lambda machine, _: machine.put(values := machine.since_mark(), values),
    "APPEND": lambda machine, _: machine.extend([machine.pop()]),
    "APPENDS": lambda machine, _: machine.extend(machine.since_mark()),
    "EMPTY_DICT": lambda machine, _: machine.put({}),
    "DICT": lambda machine, _: machine.dictionary(machine.since_mark()),
    "SETITEM": lambda machine, _: machine.update([machine.pop(), machine.pop()][::-1]),
    "SETITEMS": lambda machine, _: machine.update(machine.since_mark()),
    "PUT": _Machine.remember,
    "BINPUT": _Machine.remember,
    "LONG_BINPUT": _Machine.remember,
    "MEMOIZE": lambda machine, _: machine.remember(len(machine.memo)),
    "GET": _Machine.recall,
    "BINGET": _Machine.recall,
    "LONG_BINGET": _Machine.recall,
    "GLOBAL": lambda machine, name: machine.name(*name.split(" ", 1)),
    "STACK_GLOBAL": lambda machine, _: machine.name(*[machine.pop(), machine.pop()][::-1]),
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
}


def read_python_batch(
    content: bytes,
    name: str,
    title: str = "CIFAR-10",
    label_entry: str = "labels",
    classes: int = 10,
    advice: str = "",
) -> tuple[np.ndarray, np.ndarray]:
    """One pickled batch -> (pixels uint8 (N, 3072), read-only; labels int64 (N,)).

    name          the file's name in error messages
    title         the data set's name in error messages
    label_entry   the key of the labels
    classes       the number of classes
    advice        the last sentence of an error message

    Raises DataError when the pickle needs more than plain containers, text, numbers and uint8 arrays, or is no batch.
    """
    with guarded(DataError, f"{name} is not a batch of {title}", f". Nothing in it was run. {advice}".rstrip()):
        batch = _Machine(content).run()
    labels = _entry(batch, label_entry, name, title)
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise DataError(f"The labels in {name} are not a list of whole numbers, so it is not a batch of {title}.")
    pixels = _as_pixels(_entry(batch, "data", name, title))
    if pixels is None or len(pixels) != len(labels):
        raise DataError(
            f"The images in {name} are not a uint8 array ({len(labels)}, 3072), a row per label, "
            f"so it is not a batch of {title}."
        )
    for index, label in enumerate(labels):
        if not 0 <= label < classes:
            raise DataError(f"Record {index} of {name} has the label {label}; {title}'s labels are 0 to {classes - 1}.")
    return pixels, np.array(labels, dtype=np.int64)


def _entry(batch: object, wanted: str, name: str, title: str) -> object:
    """Look up a key in the batch's dictionary: Python 2 wrote its keys as bytes, Python 3 as text."""
    if isinstance(batch, dict):
        for key, value in batch.items():
            if key in (wanted.encode(), wanted):
                return value
    raise DataError(f"{name} has no entry '{wanted}', so it is not a batch of {title}.")


def _as_pixels(array: object) -> np.ndarray | None:
    """Turn the record of a pickled array into uint8 (N, 3072); None when it is anything else."""
    match array:
        # Protocols 2 to 4: (version, shape, dtype, whether it is in Fortran order, content).
        case _Record(
            state=(1, (int(count), 3072), _Record(arguments=("u1" | b"u1", *_)), bool(by_columns), bytes(content))
        ):
            pass
        # Protocol 5.
        case _Record(
            arguments=(
                bytes() | bytearray() as content,
                _Record(arguments=("u1", *_)),
                (int(count), 3072),
                "C" | "F" as order,
            )
        ):
            by_columns = order == "F"
        case _:
            return None
    if len(content) != count * 3072:
        return None
    return np.frombuffer(content, dtype=np.uint8).reshape((count, 3072), order="F" if by_columns else "C")
