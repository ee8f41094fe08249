"""The page's files are put into one, and what data say cannot get out of its place."""

import json
import re
from html.parser import HTMLParser

import pytest

from ae_lightning.explorer.page import PAGE, PLACEHOLDERS, inlined

FRAME = """<html><head><title>{{title}}</title><style>{{styles}}</style></head><body><h1>{{title}}</h1>
<script type="application/json" id="manifest">{{manifest}}</script>
{{blocks}}
{{modules}}
<script>start();</script></body></html>
"""
NASTY = '</script><script>alert(1)</script><!-- <script> {{blocks}} & "quoted" {{title}} \\g<0> \u2028'


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the text of each script, style and title."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.texts.append("")

    def handle_data(self, data):
        if self.texts:
            self.texts[-1] += data

    def of(self, tag):
        return [(attrs, text) for (name, attrs), text in zip(self.tags, self.texts, strict=True) if name == tag]


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "index.html").write_text(FRAME, encoding="utf-8")
    (tmp_path / "style.css").write_text("body { color: red }", encoding="utf-8")
    (tmp_path / "main.js").write_text('import { x } from "explorer/a.js";\n', encoding="utf-8")
    (tmp_path / "a.js").write_text('export const x = "{{title}}";\n', encoding="utf-8")
    return tmp_path


def test_all_parts_are_in_their_places(folder):
    manifest = {"title": "mine/version_0", "values": [1, 2.5, None]}
    found = Elements(inlined(manifest, {"0.0.weight": "QUJD", "lit": "REVG"}, folder))
    scripts = found.of("script")
    assert json.loads(scripts[0][1]) == manifest
    assert [(attrs.get("data-block"), text.strip()) for attrs, text in scripts[1:3]] == [
        ("0.0.weight", "QUJD"),
        ("lit", "REVG"),
    ]
    assert {attrs["type"] for attrs, _ in scripts[1:3]} == {"application/gzip;base64"}
    assert [attrs.get("id") for attrs, _ in scripts[3:5]] == ["a.js", "main.js"]
    assert {attrs["type"] for attrs, _ in scripts[3:5]} == {"text/module"}
    assert scripts[3][1].strip() == 'export const x = "{{title}}";'
    assert found.of("style")[0][1] == "body { color: red }"
    assert found.of("title")[0][1] == found.of("h1")[0][1].strip() == "mine/version_0"


def test_what_data_say_ends_no_element_and_is_no_placeholder(folder):
    manifest = {"title": NASTY, "samples": {"classes": [NASTY]}, NASTY: 1}
    plain, text = (inlined(given, {"a": "QUJD"}, folder) for given in ({"title": "x"}, manifest))
    found = Elements(text)
    assert [tag for tag, _ in found.tags] == [tag for tag, _ in Elements(plain).tags]
    assert json.loads(found.of("script")[0][1]) == manifest
    assert found.of("title")[0][1] == NASTY
    assert "<" not in re.search(r'id="manifest">(.*?)</script>', text, re.DOTALL)[1]


def test_a_module_may_speak_of_script_elements(folder):
    (folder / "a.js").write_text("const a = '</script>', b = '</SCRIPT>', c = '<!--', d = '</style>';\n")
    found = Elements(inlined({"title": "x"}, {}, folder))
    assert [attrs.get("id") for attrs, _ in found.of("script")][1:3] == ["a.js", "main.js"]
    # In JavaScript a backslash before / or ! changes nothing.
    assert found.of("script")[1][1].strip() == r"const a = '<\/script>', b = '<\/SCRIPT>', c = '<\!--', d = '</style>';"


@pytest.mark.parametrize("name", sorted(PLACEHOLDERS))
def test_a_page_that_lacks_a_place_is_refused(folder, name):
    (folder / "index.html").write_text(FRAME.replace(f"{{{{{name}}}}}", ""), encoding="utf-8")
    with pytest.raises(ValueError, match="has the placeholders"):
        inlined({"title": "x"}, {}, folder)


def test_a_placeholder_that_is_not_known_is_refused(folder):
    (folder / "index.html").write_text(FRAME + "{{style}}", encoding="utf-8")
    with pytest.raises(ValueError, match="'style'"):
        inlined({"title": "x"}, {}, folder)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_json_lacks_are_null(folder, number):
    page = inlined({"title": "x", "value": number}, {}, folder)
    assert '"value":null,"value_reason":"' in page
    assert "NaN" not in page
    assert "Infinity" not in page


def test_the_page_of_the_package_names_nothing_outside():
    text = inlined({"title": "x"}, {})
    for module in PAGE.glob("*.js"):
        assert f'id="{module.name}"' in text
    assert not re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]{2,}/", text.replace("http://www.w3.org/", ""))
    assert len(text.encode()) < 200_000
