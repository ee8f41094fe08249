"""What the link checker says of pages written by hand."""

from pathlib import Path

import pytest
from site_builder.links import broken_links


def test_links_that_lead_somewhere(tmp_path: Path) -> None:
    (tmp_path / "guides").mkdir()
    (tmp_path / "a picture.png").touch()
    (tmp_path / "index.html").write_text(
        '<h1 id="top">Home</h1><a href="guides/one.html#two">1</a> <a href="#top">2</a> <a href="">3</a>'
        '<img src="a%20picture.png"> <img src="data:image/png;base64,AAAA">'
    )
    (tmp_path / "guides" / "one.html").write_text(
        '<a name="two"></a><a href="../index.html#top">1</a> <a href="https://example.org/x#y">2</a>'
        '<a href="mailto:one@example.org">3</a>'
    )
    assert broken_links(tmp_path) == []


@pytest.mark.parametrize(
    ("element", "problem"),
    [
        ('<a href="two.html">', "there is no such file"),
        ('<a href="../outside.html">', "there is no such file"),
        ('<a href="guides/">', "there is no such file"),
        ('<img src="picture.png">', "there is no such file"),
        ('<a href="#nowhere">', "the page has no such place"),
        ('<a href="other.html#top">', "the page has no such place"),
        ('<a href="/index.html">', "it begins at the root of a server, and there is none"),
        ('<a href="https://">', "it names no server"),
        ('<a href="https://example.org/a b">', "an address has no blanks"),
        ('<a href="mailto:example.org">', "it names no server"),
        ('<a href="htps://example.org">', "it has no scheme that a browser follows, such as https"),
        ('<a href="//example.org/x">', "it has no scheme that a browser follows, such as https"),
        ('<script src="https://example.org/x.js">', "the page shows what it does not bring"),
        ('<link rel="stylesheet" href="https://example.org/x.css">', "the page shows what it does not bring"),
    ],
)
def test_a_link_that_leads_nowhere(element: str, problem: str, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "guides").mkdir(parents=True)
    (tmp_path / "outside.html").touch()
    (site / "other.html").write_text("<h1>Other</h1>")
    (site / "index.html").write_text(f'<h1 id="top">Home</h1>{element}')
    address = element.split('"')[-2]
    assert broken_links(site) == [f"index.html links to {address!r}: {problem}"]
