"""Builds the documentation: content/*.md to HTML pages in the directory given.

The part of Markdown the content uses, and no more: one `#` heading, paragraphs, `-` lists, code spans, links.
"""

import html
import re
import sys
from pathlib import Path

HERE = Path(__file__).parent
PAGE = """<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>{title} · Curate-Me docs</title></head>
<body>
{body}
</body>
</html>
"""


def inline(text):
    """Render code spans and links of one line of text."""
    text = re.sub(r"`([^`]+)`", r"<code>\1</code>", html.escape(text, quote=False))
    return re.sub(r"\[([^]]+)\]\(([^)\s]+)\)", r'<a href="\2">\1</a>', text)


def block(text):
    """Render one block: a heading, a list or a paragraph."""
    lines = text.splitlines()
    if lines[0].startswith("# "):
        return f"<h1>{inline(lines[0][2:])}</h1>"
    if all(line.startswith("- ") for line in lines):
        return "<ul>\n" + "\n".join(f"<li>{inline(line[2:])}</li>" for line in lines) + "\n</ul>"
    return f"<p>{inline(' '.join(lines))}</p>"


def page(markdown):
    """Render a whole page; its first heading is its title."""
    blocks = [each for each in re.split(r"\n\s*\n", markdown.strip()) if each]
    title = html.escape(blocks[0].removeprefix("# "))
    return PAGE.format(title=title, body="\n".join(block(each) for each in blocks))


def build(target):
    """Write each page to `target`. Raises SystemExit when there is no content."""
    sources = sorted((HERE / "content").glob("*.md"))
    if not sources:
        sys.exit(f"no pages in {HERE / 'content'}")
    target.mkdir(parents=True, exist_ok=True)
    for source in sources:
        (target / source.with_suffix(".html").name).write_text(page(source.read_text()))


if __name__ == "__main__":
    build(Path(sys.argv[1]))
