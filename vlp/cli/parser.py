"""The parser of all commands: names what was meant, takes no flag twice, explains in 80 columns."""

import argparse
import difflib
import os
import re
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

from vlp.terminal import called


class UsageError(ValueError):
    """The command line itself is wrong; the process exits with code 2."""


class Help(argparse.HelpFormatter):
    """Fills paragraphs; keeps indented lines apart, and commands in one that can be pasted."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        lines: list[str] = []
        text = re.sub(r"^  vlp ", f"  {called()} ", text, flags=re.MULTILINE)
        for paragraph in re.split(r"\n{2,}", text.strip("\n")):
            if re.search(r"^ ", paragraph, re.MULTILINE):
                lines += [self._kept(line, width) for line in paragraph.splitlines()]
            else:
                lines.append(textwrap.fill(paragraph, width))
            lines.append("")
        return "\n".join(lines[:-1])

    def _kept(self, line: str, width: int) -> str:
        """A line as it is, if it fits; else a command or a row of two columns in several."""
        if len(line) <= width:
            return line
        if line.startswith(f"  {called()} "):
            flags = line.split(" --")
            rows, row = [], flags[0]
            for flag in flags[1:]:
                if len(row) + len(flag) + 5 > width:
                    rows.append(row)
                    row = "   "
                row += f" --{flag}"
            return " \\\n".join([*rows, row])
        column = re.match(r" *\S+(?: \S+)* {2,}|( *)", line)
        indent = " " * (column.end() if column else 0)
        return textwrap.fill(
            line, width, subsequent_indent=indent, break_on_hyphens=False, drop_whitespace=True
        )


class Parser(argparse.ArgumentParser):
    """An argument parser that names the nearest flag or command when one is mistyped, and takes no
    flag twice: argparse would keep the last value in silence.
    """

    def __init__(self, **settings: Any):
        settings.setdefault("formatter_class", Help)
        settings.setdefault("allow_abbrev", False)
        super().__init__(**settings)
        self.register("action", None, Once)
        self.register("action", "store", Once)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, but for flags given twice.

        Raises:
            UsageError: a flag that takes one value got several.
        """
        namespace = argparse.Namespace() if namespace is None else namespace
        namespace.given = {}
        found = super().parse_known_args(args, namespace)
        for values in found[0].__dict__.pop("given", {}).values():
            check_once(values)
        return found

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """As argparse does, but for an empty value: so a shell writes a variable without one."""
        is_command = isinstance(action, argparse._SubParsersAction)  # with all of its arguments
        if not is_command and not all(map(str.strip, arg_strings)):
            raise argparse.ArgumentError(
                action, "needs a value, got an empty one; give one, or leave it out"
            )
        return super()._get_values(action, arg_strings)

    def error(self, message: str) -> NoReturn:
        if message.startswith("argument "):  # that says all
            raise UsageError(message)
        raise UsageError(f"{message}\n{self.format_usage().strip()}")

    def options(self) -> list[str]:
        """Every flag, those of sub-commands included."""
        found: list[str] = []
        for action in self._actions:
            found += action.option_strings
            if isinstance(action, argparse._SubParsersAction):
                found += [flag for parser in action.choices.values() for flag in parser.options()]
        return found

    def reject_unknown(self, unknown: Sequence[str]) -> None:
        """Raises UsageError for the first argument that no flag takes."""
        if not unknown:
            return
        name = unknown[0].split("=", 1)[0]
        if not name.startswith("-"):
            raise UsageError(
                f"unknown argument {name}: a flag takes one value, and a shell makes several of "
                "patterns and sentences without quotes; write --data='shards/*.tar'"
            )
        known = self.options()
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {nearest[0]}?" if nearest else f"; known flags: {', '.join(known)}"
        raise UsageError(f"unknown argument {name}{hint}")


class Once(argparse._StoreAction):
    """Stores a value and remembers all that were given, for `check_once`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        super().__call__(parser, namespace, values, option_string)
        if option_string is not None:
            namespace.given.setdefault(self.dest, []).append((option_string, str(values)))


class Joined(argparse.Action):
    """Stores one value of all that were given: data of several places, joined by commas."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is None else f"{before},{values}")


def check_once(values: Sequence[tuple[str, str]]) -> None:
    """Refuses a flag that has several values.

    Args:
        values: each with the flag as it was written.

    Raises:
        UsageError: there are several; says so of braces that a shell took apart.
    """
    if len(values) < 2:
        return
    given = [f"{flag}={value}" for flag, value in values]
    more = f" and {len(given) - 2} more" if len(given) > 2 else ""
    braces = _braces([value for _, value in values])
    hint = f"a shell takes braces apart, quote them: {values[0][0]}='{braces}'" if braces else ""
    raise UsageError(
        f"{values[0][0]} takes one value, got {given[0]} and {given[1]}{more}; "
        + (hint or "leave all but one out")
    )


def _braces(values: Sequence[str]) -> str:
    """The pattern such as s/{0..3}.tar that a shell has made these values of; "" if it is none."""
    before = os.path.commonprefix(values).rstrip("0123456789")
    rest = [value[len(before) :] for value in values]
    behind = os.path.commonprefix([value[::-1] for value in rest])[::-1].lstrip("0123456789")
    middle = [value[: len(value) - len(behind)] for value in rest]
    if len(set(middle)) < 2 or not before:
        return ""
    if all(part.isdecimal() for part in middle):
        return f"{before}{{{middle[0]}..{middle[-1]}}}{behind}"
    return f"{before}{{{','.join(middle)}}}{behind}" if behind else ""
