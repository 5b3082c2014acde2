"""Types of arguments and options that several commands have."""

from __future__ import annotations

import math
import os

import click


class Text(click.ParamType[str]):
    """Text that goes to the service, or into a token: UTF-8, whatever the locale is.

    Python gives bytes that are no text of the locale as lone surrogates, which cannot be encoded
    again. Names of files need not be text, so they are not of this type.
    """

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; a value that is not UTF-8 is wrong usage."""
        try:
            value.encode()
        except UnicodeEncodeError:
            try:
                # In a locale without UTF-8, such as C, its bytes may well be UTF-8.
                return os.fsencode(value).decode()
            except UnicodeError:
                self.fail(f"{value!r} is not UTF-8", param, ctx)
        return value


class Seconds(click.FloatRange):
    """A number of seconds: any but NaN, which is neither less nor more than any limit."""

    name = "seconds"

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number; one outside of the limits is wrong usage."""
        seconds = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value} is not a number of seconds", param, ctx)
        return seconds


TEXT = Text()
