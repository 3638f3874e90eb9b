"""Builds the dashboard's pages: templates/*.html with the version filled in, written to the directory given.

The revision stays a placeholder: the server fills it in, so that an unchanged dashboard builds to the
same layer at every commit.
"""

import sys
from pathlib import Path

HERE = Path(__file__).parent


def build(target):
    """Write each page to `target`. Raises OSError when a source is missing."""
    version = (HERE / "VERSION").read_text().strip()
    target.mkdir(parents=True, exist_ok=True)
    for template in sorted((HERE / "templates").glob("*.html")):
        (target / template.name).write_text(template.read_text().replace("{{version}}", version))
    (target / "VERSION").write_text(version + "\n")


if __name__ == "__main__":
    build(Path(sys.argv[1]))
