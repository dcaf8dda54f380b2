#!/usr/bin/env python3
"""Writes results into a document, between `<!-- begin NAME -->` and `<!-- end NAME -->`, so that nobody has to copy figures.

usage: COMMAND | tests/proofs/section.py DOCUMENT NAME    plain text, as a block of code
       COMMAND | tests/proofs/section.py DOCUMENT NAME markdown

The proofs do this themselves when the environment has WRITE=1; the Python ones use `written`.
"""

import contextlib
import io
import os
import re
import sys
from pathlib import Path

PROOFS = Path(__file__).resolve().parent / "README.md"


def write(document, name, text, is_markdown):
    before = Path(document).read_text()
    text = text.strip("\n")
    body = text if is_markdown else f"```text\n{text}\n```"
    begin, end = (f"<!-- {word} {name} -->" for word in ("begin", "end"))
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    after, count = pattern.subn(lambda _: f"{begin}\n\n{body}\n\n{end}", before)
    if count != 1 or not text:
        sys.exit(f"section.py: {document} has {count} sections {name}" if text else "section.py: nothing to write")
    Path(document).write_text(after)


class Tee(io.StringIO):
    def __init__(self, other):
        super().__init__()
        self.other = other

    def write(self, text):
        self.other.write(text)
        return super().write(text)

    def flush(self):
        self.other.flush()


@contextlib.contextmanager
def written(name, is_markdown, is_whole):
    """What is printed meanwhile becomes that section of the proofs' README, where WRITE=1 asks for it.

    A run of a part of it does not replace what a whole one has measured."""
    tee = Tee(sys.stdout)
    with contextlib.redirect_stdout(tee):
        yield
    if os.environ.get("WRITE"):
        if is_whole:
            write(PROOFS, name, tee.getvalue(), is_markdown)
        else:
            print(f"section.py: only a part of {name} was run: README.md stays as it is", file=sys.stderr)


def main():
    if not (len(sys.argv) == 3 or len(sys.argv) == 4 and sys.argv[3] == "markdown"):
        sys.exit(__doc__.strip())
    write(sys.argv[1], sys.argv[2], sys.stdin.read(), len(sys.argv) == 4)


if __name__ == "__main__":
    main()
