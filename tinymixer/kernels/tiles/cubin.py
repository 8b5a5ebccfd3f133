"""Reads from a compiled kernel how much of a multiprocessor it takes, before anything is loaded onto a GPU.

A cubin is an ELF file. The size of its section `.nv.shared.NAME` is the kernel's shared memory; the section `.nv.info`
is a list of attributes, of which one is the number of registers a thread has and one the size of its stack. A stack
means that registers did not suffice ("spills"): some values go through memory.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass

HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
SECTION = struct.Struct("<IIQQQQIIQQ")
SIZED, REGISTERS, STACK = 0x04, 0x2F, 0x12  # how an attribute's value is stored; two attributes


@dataclass(frozen=True)
class Cubin:
    """A kernel's machine code, its name there, and per block bytes of shared memory; per thread registers and stack."""

    code: bytes
    symbol: str
    shared: int
    registers: int
    stack: int


def read_cubin(code: bytes, symbol: str) -> Cubin:
    """Raises ValueError when these bytes are no cubin, or hold no kernel of that name."""
    try:
        sections = dict(_sections(code))
        attributes = dict(_attributes(sections[".nv.info"][0]))
        if f".text.{symbol}" not in sections:
            raise ValueError(f"the compiled file holds no kernel {symbol}")
        _, shared = sections.get(f".nv.shared.{symbol}", (b"", 0))
        return Cubin(code, symbol, shared, attributes[REGISTERS], attributes.get(STACK, 0))
    except (struct.error, KeyError, IndexError, UnicodeDecodeError) as error:
        raise ValueError(f"the compiled file is no cubin that can be read ({error!r})") from error


def _sections(code: bytes) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Each section's name, bytes and size; sections for zeroed memory have a size and no bytes."""
    magic, *_, start, _, _, _, _, size, count, names_at = HEADER.unpack_from(code)
    if magic[:4] != b"\x7fELF":
        raise ValueError("the compiled file is no ELF file")
    headers = [SECTION.unpack_from(code, start + i * size) for i in range(count)]
    names = headers[names_at][4]
    for name, _, _, _, offset, length, *_ in headers:
        end = code.index(b"\0", names + name)
        yield code[names + name : end].decode(), (code[offset : offset + length], length)


def _attributes(info: bytes) -> Iterator[tuple[int, int]]:
    """The attributes of a whole cubin that hold one number for its kernel. The last kernel wins; ours hold one."""
    position = 0
    while position + 4 <= len(info):
        form, attribute, length = struct.unpack_from("<BBH", info, position)
        position += 4
        if form == SIZED:
            if length == 8:
                yield attribute, struct.unpack_from("<II", info, position)[1]
            position += length
