"""The documentation site: built without a warning, whole, and read from disk in a browser without a network."""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

import ae_lightning
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.fit.parsing import OnlySettings, prepare
from ae_lightning.cli.fit.setting_checks import FROM_DATA
from ae_lightning.cli.main import COMMANDS, TRAINER_COMMANDS
from ae_lightning.models import own_variants
from ae_lightning.upstream import option_names

pytestmark = pytest.mark.slow

ROOT = Path(ae_lightning.__file__).resolve().parents[1]
WIDE, NARROW = 1400, 375
PAGES = ("index", "reference/index", "reference/models", "reference/commands/fit", "reference/options/variants")


def places_in(path: Path) -> set[str]:
    found: set[str] = set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.update(value for name, value in attrs if name == "id" and value)

    Reader().feed(path.read_text(encoding="utf-8"))
    return found


# --- the build ---------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A folder with the site's own config, but one page only."""
    pytest.importorskip("zensical", reason="the site needs `pip install 'ae-lightning[docs]'`")
    config = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    (tmp_path / "zensical.toml").write_text(re.sub(r"(?s)nav = \[.*?\n\]\n", 'nav = [{ Home = "index.md" }]\n', config))
    (tmp_path / "build" / "docs").mkdir(parents=True)
    return tmp_path


def warnings_about(page: str, root: Path) -> str:
    from site_builder.build import warnings_of_zensical

    (root / "build" / "docs" / "index.md").write_text(f"# Home\n\n{page}\n", encoding="utf-8")
    return "\n".join(warnings_of_zensical(root))


@pytest.mark.parametrize(
    ("page", "warning"),
    [
        ("[here](#home) and $\\frac{a}{b}$", ""),
        ("[away](missing.md)", "page does not exist"),
        ("[away](index.md#nowhere)", "anchor does not exist"),
        ("[`Nothing`][ae_lightning.models.Nothing]", "unresolved autoref"),
        ('--8<-- "missing.md"', "missing.md"),
        ("::: ae_lightning.nothing", "ae_lightning.nothing"),
        ("$\\nothing$", "has a command that is not known"),
    ],
)
def test_what_stops_a_build(page: str, warning: str, small: Path) -> None:
    told = warnings_about(page, small)
    assert warning in told
    assert bool(told) == bool(warning)


def test_a_page_that_the_navigation_does_not_name_is_told(tmp_path: Path) -> None:
    from site_builder.build import unlisted

    (tmp_path / "guides").mkdir()
    for name in ("index", "guides/one", "guides/two", "guides/three"):
        (tmp_path / f"{name}.md").touch()
    nav = [{"Home": "index.md"}, {"Guides": [{"One": "guides/one.md"}, "guides/two.md"]}]
    assert unlisted(tmp_path, nav) == ["guides/three.md"]


# --- what it holds -----------------------------------------------------------------------------------------------


def public_names() -> Iterator[tuple[str, str]]:
    """The page and the dotted name of each public class and function, by importing the package."""
    for info in pkgutil.walk_packages(ae_lightning.__path__, "ae_lightning."):
        room = info.name.split(".")[1]
        in_rooms = info.ispkg or info.name.count(".") > 1 or room in ("errors", "gallery")
        if room in ("cli", "__main__") or not in_rooms:
            continue
        for name, thing in vars(importlib.import_module(info.name)).items():
            is_own = getattr(thing, "__module__", None) == info.name
            if is_own and not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)):
                yield room, f"{info.name}.{name}"


def test_every_public_class_and_function_has_its_place(built: Path) -> None:
    names = list(public_names())
    assert len(names) > 400
    places = {room: places_in(built / "reference" / f"{room}.html") for room in {room for room, _ in names}}
    assert not [name for room, name in names if name not in places[room]]


def test_a_class_that_a_page_names_is_a_link(built: Path) -> None:
    html = (built / "index.html").read_text(encoding="utf-8")
    assert re.search(
        r'<a [^>]*href="reference/models\.html#ae_lightning\.models\.topk_sae\.TopKSAE"><code>TopKSAE</code></a>, '
        "<code>no_class</code>",
        html,
    )


def test_what_a_function_returns_is_one_thing(built: Path) -> None:
    """Its docstring may have several lines, and Griffe would take each for a value."""
    html = (built / "reference" / "losses.html").read_text(encoding="utf-8")
    returned = re.findall(r"(?s)>Returns:<.*?</ul>", html)
    assert len(returned) > 5
    assert {text.count("doc-section-item") for text in returned} == {1}


def options_of(command: str) -> list[str]:
    """All long options of a command, asked of its parser."""
    if command in TRAINER_COMMANDS:
        asked: list[str] = []

        class Asked(OnlySettings):
            def parse_arguments(self, parser: object, args: object) -> None:
                asked.extend(name for each in self._parsers for name in option_names(each))
                raise StopIteration

        with pytest.raises(StopIteration):
            Asked(prepare(CommandLine([command, "--help"])))
        return [name for name in asked if name.startswith("--") and not name.endswith((".help", "+"))]
    from site_builder.help_text import help_of

    usage = help_of(command, "--help").usage
    return re.findall(r"--[\w-]+", usage)


@pytest.mark.parametrize("command", [*TRAINER_COMMANDS, *COMMANDS])
def test_every_option_of_a_command_is_on_its_page(command: str, built: Path) -> None:
    text = re.sub("<[^>]*>", "", (built / "reference" / "commands" / f"{command}.html").read_text(encoding="utf-8"))
    options = options_of(command)
    assert options or command == "configs"
    assert not [option for option in options if not re.search(rf"{re.escape(option)}\b", text)]


def test_every_variant_has_its_options(built: Path) -> None:
    places = places_in(built / "reference" / "options" / "variants.html")
    for name, kind in own_variants().items():
        parameters = [name for name in inspect.signature(kind).parameters if name not in (*FROM_DATA, "kwargs")]
        own = [parameter for parameter in parameters if not parameter.startswith("_")]  # the others are for subclasses
        assert not [option for option in own if f"{name}.model.{option}" not in places], name


# --- in a browser ------------------------------------------------------------------------------------------------


@contextmanager
def opened(browser: Browser, page: Path) -> Iterator[Page]:
    """Open a page from disk without a network; it may ask for nothing else, and nothing may fail in it."""
    context = browser.new_context(viewport={"width": WIDE, "height": 900}, offline=True)
    tab = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: errors.append(message.text) if message.type in ("error", "warning") else None)
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(page.as_uri())
    yield tab
    context.close()
    assert not [address for address in asked if not address.startswith(("file:", "data:", "blob:"))]
    assert errors == []


def test_search_finds_a_class(built: Path, browser: Browser) -> None:
    with opened(browser, built / "guides" / "train.html") as page:
        page.keyboard.press("Control+k")
        page.keyboard.type("BatchTopKSAE")
        # A link of the page itself lies behind the results.
        found = page.locator("a:not(.autorefs)[href*='ae_lightning.models.topk_sae.BatchTopKSAE']").first
        found.wait_for()
        found.click()
        page.wait_for_url("**/reference/models.html*#ae_lightning.models.topk_sae.BatchTopKSAE")
        expect(page.locator("[id='ae_lightning.models.topk_sae.BatchTopKSAE']")).to_be_visible()


def test_a_formula_is_drawn_with_the_font_of_the_site(built: Path, browser: Browser) -> None:
    with opened(browser, built / "index.html") as page:
        fraction = page.locator("mfrac").last
        above, below = (fraction.locator(f"> :nth-child({place})").bounding_box() for place in (1, 2))
        assert above["y"] + above["height"] <= below["y"] + 1
        loaded = "async () => { await document.fonts.ready; return [...document.fonts].map((font) => font.status) }"
        assert page.evaluate(loaded) == ["loaded"]
        assert page.locator("math").last.get_attribute("alttext") == "\\frac{a}{b} + \\lVert z \\rVert"


@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_wider_than_the_page(name: str, built: Path, browser: Browser) -> None:
    with opened(browser, built / f"{name}.html") as page:
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width


def brightness(page: Page, selector: str, style: str) -> float:
    """Relative luminance of a color, 0 to 1; a color is drawn, as it may be given in any space."""
    color = page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).{style}")
    context = "document.createElement('canvas').getContext('2d')"
    red, green, blue = page.evaluate(
        f"(() => {{ const c = {context}; c.fillStyle = '{color}'; c.fillRect(0, 0, 1, 1);"
        " return [...c.getImageData(0, 0, 1, 1).data].slice(0, 3) })()"
    )
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue) / 255


def test_colors_follow_the_reader(built: Path, browser: Browser) -> None:
    with opened(browser, built / "reference" / "losses.html") as page:
        for scheme, is_dark in (("light", False), ("dark", True)):
            page.emulate_media(color_scheme=scheme)
            page.reload()
            paper, ink = brightness(page, "body", "backgroundColor"), brightness(page, "h1", "color")
            assert (paper < 0.2, ink > 0.8) == (is_dark, is_dark)
            assert abs(paper - ink) > 0.6
