"""A compiled program, read from the text that the compiler prints of it."""

import dataclasses
import functools
import math
import re
from collections.abc import Iterator, Mapping

_BYTES = {"pred": 1.0, "s4": 0.5, "u4": 0.5, "token": 0.0, "opaque": 0.0}
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\](?:\{([^}]*)\})?")
_HEAD = re.compile(r"\s+(ROOT )?%?([\w.\-]+) = ")
_BEGIN = re.compile(r"(ENTRY )?%?([\w.\-]+) \(.*\{$")
_CALLED = re.compile(r"(condition|body|calls|to_apply|called_computations|branch_computations)="
                     r"(%[\w.\-]+|\{[^}]*\})")  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Array:
    """What an instruction makes or takes.

    Attributes:
        dtype: as the compiler calls it, such as "bf16".
        shape: of one device's share.
        fast: whether it is kept beside the units that compute and not in the device's memory.
    """

    dtype: str
    shape: tuple[int, ...]
    fast: bool = False

    @property
    def size(self) -> int:
        """How many elements it has."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """Its bytes, without what tiles add."""
        return math.ceil(self.size * _item_bytes(self.dtype))


@dataclasses.dataclass(frozen=True)
class Instruction:
    """One line of a computation.

    Attributes:
        name: unique in the program.
        opcode: such as "fusion".
        outputs: arrays; several where it returns a tuple.
        operands: names of instructions of the same computation.
        literal: what stands between the brackets, for constants and parameters.
        attributes: the rest of the line.
        root: whether it is the result of its computation.
    """

    name: str
    opcode: str
    outputs: tuple[Array, ...]
    operands: tuple[str, ...]
    literal: str
    attributes: str
    root: bool

    @functools.cached_property
    def called(self) -> Mapping[str, tuple[str, ...]]:
        """Names of the computations that it calls, by how."""
        found = _CALLED.findall(self.attributes)
        return {how: tuple(re.findall(r"%([\w.\-]+)", names)) for how, names in found}

    def attribute(self, pattern: str) -> str:
        """The first group of a pattern in its attributes; empty where there is none."""
        found = re.search(pattern, self.attributes)
        return found[1] if found else ""


@dataclasses.dataclass(frozen=True)
class Computation:
    """Instructions in the order in which they are begun, by name."""

    name: str
    instructions: Mapping[str, Instruction]

    def __iter__(self) -> Iterator[Instruction]:
        return iter(self.instructions.values())

    @property
    def root(self) -> Instruction:
        """Its result."""
        return next(each for each in self if each.root)

    def inputs(self, instruction: Instruction) -> tuple[Array, ...]:
        """The arrays that an instruction takes."""
        known = (self.instructions[name] for name in instruction.operands)
        return tuple(array for each in known for array in each.outputs)


@dataclasses.dataclass(frozen=True)
class Visit:
    """A computation that runs by itself, not inside of a fusion.

    Attributes:
        computation: it.
        times: how often it runs in one call of the program.
        depth: how many loops it stands in.
    """

    computation: Computation
    times: int
    depth: int


@dataclasses.dataclass(frozen=True)
class Program:
    """All computations by name, which one is begun with, and where instructions come from."""

    computations: Mapping[str, Computation]
    entry: str
    _frames: Mapping[int, tuple[str, int, int]]

    def visits(self) -> list[Visit]:
        """The computations that run, how often, and in how many loops.

        A loop whose length the program does not tell counts once, see `endless`.
        """
        return list(self._visits(self.entry, 1, 0))

    def inside(
        self, instruction: Instruction, *, times: int = 1, depth: int = 0
    ) -> Iterator[Visit]:
        """The computations that a loop or call runs."""
        if instruction.opcode == "while":
            (body,) = instruction.called["body"]
            deeper = depth + (not self._asks_a_flag(instruction))
            yield from self._visits(body, times * (self._trips(instruction) or 1), deeper)
        elif instruction.opcode in ("call", "conditional", "async-start"):
            for names in instruction.called.values():
                for called in names:
                    yield from self._visits(called, times, depth)

    def endless(self) -> list[Instruction]:
        """The loops whose length the program does not tell."""
        each = (each for visit in self.visits() for each in visit.computation)
        return [loop for loop in each if loop.opcode == "while" and self._trips(loop) is None]

    def source(self, instruction: Instruction) -> str:
        """Where it was written, as "file:line", outside of installed packages; empty if unknown."""
        return next(self.sources(instruction), "")

    def sources(self, instruction: Instruction) -> Iterator[str]:
        """Where it was written, and from where that was called, and so on, as `source`."""
        frame = instruction.attribute(r"stack_frame_id=(\d+)")
        seen: set[int] = set()
        number = int(frame or 0)
        while number in self._frames and number not in seen:
            seen.add(number)
            file, line, parent = self._frames[number]
            if "site-packages" not in file and not file.startswith("<"):
                yield f"{file}:{line}"
            number = parent

    def _visits(self, name: str, times: int, depth: int) -> Iterator[Visit]:
        computation = self.computations[name]
        yield Visit(computation, times, depth)
        for each in computation:
            yield from self.inside(each, times=times, depth=depth)

    def _asks_a_flag(self, loop: Instruction) -> bool:
        """Whether a loop counts nothing, but goes on while a value says so: what is done or not."""
        (condition,) = loop.called["condition"]
        reading = {"parameter", "get-tuple-element", "bitcast", "copy", "copy-start", "copy-done"}
        return {each.opcode for each in self.computations[condition]} <= reading

    def _trips(self, loop: Instruction) -> int | None:
        """How often a loop turns: as the compiler says, or as its condition's bound does."""
        if known := loop.attribute(r'known_trip_count":\{"n":"(\d+)"'):
            return int(known)
        if self._asks_a_flag(loop):
            return 1
        (condition,) = loop.called["condition"]
        bounds = [
            int(each.literal)
            for name in (condition, *self._fused(condition))
            for each in self.computations[name]
            if each.opcode == "constant" and re.fullmatch(r"\d+", each.literal)
        ]
        return max(bounds, default=None)

    def _fused(self, name: str) -> list[str]:
        called = [each.called.get("calls", ()) for each in self.computations[name]]
        return [name for names in called for name in names]


def parse(text: str) -> Program:
    """The program of a compiled function's `as_text()`.

    Raises:
        ValueError: when the text has no entry.
    """
    computations: dict[str, Computation] = {}
    entry, name, lines = "", "", list[str]()
    for line in text.splitlines():
        if begun := _BEGIN.match(line):
            name, lines = begun[2], []
            entry = name if begun[1] else entry
        elif line == "}" or line.startswith("}, execution_thread"):
            parsed = (_instruction(each) for each in lines)
            computations[name] = Computation(name, {each.name: each for each in parsed if each})
        elif name and lines and not _HEAD.match(line):
            lines[-1] += line  # of an attribute that has several lines
        else:
            lines.append(line)
    if not entry:
        raise ValueError("a compiled program must have an ENTRY; its text has none")
    return Program(computations, entry, _frames(text))


def arrays(shape: str) -> tuple[Array, ...]:
    """The arrays that a printed shape names, of a tuple all."""
    return tuple(
        Array(dtype, tuple(int(n) for n in dims.split(",") if n), "S(1)" in layout)
        for dtype, dims, layout in _ARRAY.findall(shape)
    )


def _item_bytes(dtype: str) -> float:
    if dtype in _BYTES:
        return _BYTES[dtype]
    bits = re.search(r"\d+", dtype)
    return int(bits[0]) / 8 if bits else 0.0


def _instruction(line: str) -> Instruction | None:
    head = _HEAD.match(line)
    if not head:
        return None
    rest = line[head.end() :]
    end = _closing(rest) if rest.startswith("(") else rest.index(" ")
    shape, rest = rest[:end], rest[end:].lstrip()
    opcode, bracket, _ = rest.partition("(")
    rest = rest[len(opcode) :]
    end = _closing(rest) if bracket else 0
    inside = rest[1 : end - 1]
    return Instruction(
        name=head[2],
        opcode=opcode,
        outputs=arrays(shape),
        operands=tuple(re.findall(r"%([\w.\-]+)", inside)),
        literal=inside,
        attributes=rest[end:],
        root=bool(head[1]),
    )


def _closing(text: str) -> int:
    """Behind the bracket that closes the first one."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place + 1
    raise ValueError(f"brackets must close, got {text[:80]!r}")


def _frames(text: str) -> dict[int, tuple[str, int, int]]:
    """By number of a stack frame: its file, its line, and the frame that called it."""
    head = text[: text.find("\n%")] if "\n%" in text else text
    files = dict(re.findall(r'^(\d+) "(.*)"$', _section(head, "FileNames"), re.M))
    places = {
        number: (files.get(file, ""), int(line))
        for number, file, line in re.findall(
            r"^(\d+) \{file_name_id=(\d+).*? line=(\d+)", _section(head, "FileLocations"), re.M
        )
    }
    return {
        int(number): (*places.get(place, ("", 0)), int(parent))
        for number, place, parent in re.findall(
            r"^(\d+) \{file_location_id=(\d+) parent_frame_id=(\d+)",
            _section(head, "StackFrames"),
            re.M,
        )
    }


def _section(head: str, name: str) -> str:
    return head.partition(f"\n{name}\n")[2].partition("\n\n")[0]
