"""Commands that messages advise, as they can be typed: with the manifest, and the options that chose the database."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click
from click.core import ParameterSource

_COMMAND: Final = re.compile(r"`rivya-batch ([a-z]+)((?: [^`]*)?)`")
_STANDS_FOR: Final = "MANIFEST"


class Advice:
    """Completes the commands that one command advises.

    Args:
        commands: All there are.
        given: The arguments and options that the one was given, by name.
    """

    def __init__(self, commands: click.Command, given: Mapping[str, Any]) -> None:
        self._commands = commands
        self._given = given

    @classmethod
    def here(cls, **given: Any) -> Advice:
        """Return the advice of the command that is at work; `given` stands in the place of what it was given."""
        context = click.get_current_context(silent=True)
        if context is None:
            return cls(click.Command(None), given)
        return cls(context.find_root().command, {**_typed_in(context), **given})

    @classmethod
    def of(cls, commands: click.Command, arguments: Sequence[str]) -> Advice:
        """Return the advice of a command line; one that cannot be read completes nothing."""
        command = _named(commands, arguments[0]) if arguments else None
        return cls(commands, _read(command, arguments[1:]) if command is not None else {})

    def typed(self, text: str) -> str:
        """Return a text whose commands, such as `rivya-batch plan --all`, are about the same manifest and database."""
        return _COMMAND.sub(lambda found: f"`{self._whole(found[1], found[2])}`", text)

    def _whole(self, name: str, rest: str) -> str:
        command = _named(self._commands, name)
        try:
            words = shlex.split(rest)
        except ValueError:
            command = None
        if command is None:
            return f"rivya-batch {name}{rest}"
        manifest = self._given.get("manifest")
        # A saved plan can be run, and nothing else.
        if manifest is not None and not str(manifest).endswith(".json") and _takes_manifest(command):
            quoted = shlex.quote(str(manifest))
            if _STANDS_FOR in words:
                rest = rest.replace(_STANDS_FOR, quoted, 1)
            elif (read := _read(command, words)).get("manifest") is None:
                needed = (each.name or "" for each in command.params if _is_needed(each))
                missing = [name.upper() for name in needed if name != "manifest" and read.get(name) is None]
                rest = f" {' '.join([quoted, *missing])}{rest}"
        options = {option for parameter in command.params for option in parameter.opts}
        if self._given.get("sandbox") and "--sandbox" in options and "--sandbox" not in words:
            rest += " --sandbox"
        if self._given.get("state") and "--state" in options and "--state" not in words:
            rest += f" --state {shlex.quote(str(self._given['state']))}"
        return f"rivya-batch {name}{rest}"


def _takes_manifest(command: click.Command) -> bool:
    """Return whether a command is about one manifest: `status` tells of all, and `serve` would take the last one."""
    return command.name == "serve" or any(
        parameter.name == "manifest" and _is_needed(parameter) for parameter in command.params
    )


def _is_needed(parameter: click.Parameter) -> bool:
    return isinstance(parameter, click.Argument) and parameter.required


def _named(commands: click.Command, name: str) -> click.Command | None:
    return commands.get_command(click.Context(commands), name) if isinstance(commands, click.Group) else None


def _read(command: click.Command, arguments: Sequence[str]) -> dict[str, Any]:
    try:
        context = command.make_context(command.name, list(arguments), resilient_parsing=True)
    except (click.ClickException, click.exceptions.Exit):
        return {}
    return _typed_in(context)


def _typed_in(context: click.Context) -> dict[str, Any]:
    # Not what the environment says: it says it to the next command too, and may have a password in it.
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is not ParameterSource.ENVIRONMENT
    }
