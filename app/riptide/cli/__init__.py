from riptide.cli.group import main

__all__ = ["main"]
