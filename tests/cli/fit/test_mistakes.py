"""The parser's defaults, and that settings of one class do not stay in force for another."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jsonargparse._common
import numpy as np
import pytest
import yaml
from jsonargparse import ActionConfigFile

from ae_lightning import upstream
from ae_lightning.cli.fit.mistakes import HelpfulParser, ParseMistake, explain
from ae_lightning.parser_errors import FRAMES, Wording, denied_in, is_wrapped, reason_of
from ae_lightning.training.coefficients import Ramp


@pytest.fixture
def resolved(ae: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Settings that arguments of fit resolve to."""

    def resolve(*arguments: str) -> dict[str, Any]:
        outcome = ae("fit", *arguments, "--print_config")
        assert outcome.code == 0, outcome.err
        return yaml.safe_load(outcome.out)

    return resolve


def test_digits_are_the_default_data(resolved: Callable[..., Any]) -> None:
    data = resolved("--model", "OvercompleteAutoencoder", "--data.batch_size", "7")["data"]
    assert data["class_path"].endswith(".DigitsDataModule")
    assert data["init_args"]["batch_size"] == 7


@pytest.mark.parametrize("way", ["command line", "config", "second config", "over a config"])
def test_the_default_datas_settings_do_not_reach_other_data(
    way: str, resolved: Callable[..., Any], tmp_path: Path
) -> None:
    np.save(tmp_path / "x.npy", np.zeros((4, 3), np.float32))
    (tmp_path / "arrays.yaml").write_text("data:\n  class_path: ArraysDataModule\n  init_args:\n    train: x.npy\n")
    on_the_line = ["--data", "ArraysDataModule", "--data.train", "x.npy"]
    arguments = {
        "command line": ["--model", "OvercompleteAutoencoder", *on_the_line],
        "config": ["--config", "arrays.yaml", "--model", "OvercompleteAutoencoder"],
        "second config": ["--config", "overcomplete_digits", "--config", "arrays.yaml"],
        "over a config": ["--config", "overcomplete_digits", *on_the_line],
    }
    data = resolved(*arguments[way])["data"]
    assert data["class_path"].endswith(".ArraysDataModule")
    assert data["init_args"]["normalize"] == "none"  # digits default to unit


@pytest.mark.parametrize(("optimizer", "option", "value"), [("AdamW", "weight_decay", 0.01), ("Adadelta", "lr", 1.0)])
def test_the_default_optimizers_settings_do_not_reach_another(
    optimizer: str, option: str, value: float, resolved: Callable[..., Any]
) -> None:
    for name in ("--model.optimizer", "--model.init_args.optimizer"):
        model = resolved("--model", "OvercompleteAutoencoder", name, optimizer)["model"]
        assert model["init_args"]["optimizer"]["init_args"][option] == value


@pytest.mark.parametrize("way", ["part", "inline", "spelled with an equals sign", "overridden"])
def test_an_optimizer_keeps_its_own_defaults_and_what_is_set(
    way: str, resolved: Callable[..., Any], tmp_path: Path
) -> None:
    model = "class_path: OvercompleteAutoencoder\ninit_args:\n  optimizer:\n    class_path: torch.optim.AdamW\n"
    (tmp_path / "part.yaml").write_text(model + "    init_args: {lr: 0.5}\n")
    (tmp_path / "by_part.yaml").write_text("model: part.yaml\n")
    inline = "model:\n  " + (model + "    init_args: {lr: 0.5}").replace("\n", "\n  ")
    (tmp_path / "inline.yaml").write_text(inline)
    arguments = {
        "part": ["--config", "by_part.yaml"],
        "inline": ["--config", "inline.yaml"],
        "spelled with an equals sign": ["--model=OvercompleteAutoencoder", "--model.optimizer=AdamW"],
        "overridden": ["--config", "inline.yaml", "--model.optimizer.weight_decay", "0.25"],
    }
    optimizer = resolved(*arguments[way])["model"]["init_args"]["optimizer"]
    assert optimizer["class_path"] == "torch.optim.AdamW"
    assert optimizer["init_args"]["weight_decay"] == (0.25 if way == "overridden" else 0.01)
    assert optimizer["init_args"]["lr"] == (0.001 if "equals" in way else 0.5)
    assert optimizer["init_args"]["fused"] is None


def test_the_default_optimizer_is_fused_adam(resolved: Callable[..., Any]) -> None:
    optimizer = resolved("--model", "OvercompleteAutoencoder", "--model.optimizer.lr", "0.01")["model"]["init_args"]
    assert optimizer["optimizer"]["class_path"] == "torch.optim.Adam"
    assert optimizer["optimizer"]["init_args"]["lr"] == 0.01
    assert optimizer["optimizer"]["init_args"]["fused"] is True


def test_later_options_win_over_the_config(resolved: Callable[..., Any]) -> None:
    config = resolved("--config", "overcomplete_digits", "--model.latent_dim", "5", "--trainer.max_epochs", "2")
    assert config["model"]["init_args"]["latent_dim"] == 5
    assert config["trainer"]["max_epochs"] == 2
    assert config["seed_everything"] == 17


def test_a_message_of_no_known_kind_is_told_in_one_line() -> None:
    assert explain("something\n  quite\n\nnew", [], []) == "something quite new"


def test_a_value_that_was_forgotten_is_asked_for_by_the_option_that_was_typed() -> None:
    typed = ["--model.latent_dim"]
    assert explain(raw("--n"), [], []) == "--n needs a value"
    assert explain("argument --model: expected one argument", [], [], typed) == "--model.latent_dim needs a value"


def test_an_unknown_option_names_the_nearest_and_only_if_it_is_near() -> None:
    options = ["--trainer.max_epochs", "--model"]
    assert explain("unrecognized arguments: --trainer.max_epoch 3", options, []).endswith("mean --trainer.max_epochs?")
    assert explain("unrecognized arguments: --frobnicate", options, []) == "there is no option --frobnicate"


# --- what the parser says ----------------------------------------------------------------------


class Shape(ABC):
    @abstractmethod
    def area(self) -> float: ...


class Square(Shape):
    def __init__(self, size: int, name: Literal["a", "b"] = "a", place: tuple[int, int] = (0, 0)) -> None: ...

    def area(self) -> float:
        return 0.0


def parser() -> HelpfulParser:
    """As small as it can be for all that is said: a value, a group, a class, and a list of classes."""
    parser = HelpfulParser()
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_argument("--n", type=int, default=1)
    parser.add_argument("--k", type=float | Ramp, default=1.0)
    parser.add_argument("--many", type=list[Shape] | Shape | None, default=None)
    parser.add_argument("--coefficient", type=float | Ramp, default=1.0)
    parser.add_argument("--widths", type=Sequence[int], default=[1])
    parser.add_class_arguments(Square, "group", skip={"size"})
    parser.add_subclass_arguments(Shape, "shape", required=False)
    return parser


def raw(*arguments: str, config: str = "", command: bool = False) -> str:
    """What the parser says of arguments, and of a config that stands before them; with a command `go` above it."""
    used = parser()
    if command:
        used, below = HelpfulParser(), used
        used.add_subcommands().add_subcommand("go", below)
    if config:
        Path("config.yaml").write_text(config)
        place = 1 if command else 0
        arguments = (*arguments[:place], "--config", "config.yaml", *arguments[place:])
    with pytest.raises(ParseMistake) as mistake:
        used.parse_args(arguments)
    return str(mistake.value)


@pytest.fixture
def denying(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the parser import nothing but this module, as --safe does, for a test."""
    monkeypatch.setattr(jsonargparse._common, "parsing_settings", dict(jsonargparse._common.parsing_settings))
    jsonargparse.set_parsing_settings(import_path_denylist=["*"], import_path_allowlist=[__name__])


class Canary(NamedTuple):
    """A wording, what it captures first, and what the parser is given to say it."""

    wording: Wording
    captured: str | tuple[str, ...]
    arguments: tuple[str, ...] = ()
    config: str = ""
    command: bool = False


SQUARE = f"{__name__}.Square"
CANARIES = [
    Canary(Wording.UNKNOWN_OPTION, "--nope", ("--nope", "3")),
    Canary(Wording.UNKNOWN_OPTION, "--nope", ("--nope=3",)),
    Canary(Wording.UNKNOWN_TO_COMMAND, "nope", ("go",), "nope: 3", command=True),
    Canary(Wording.UNKNOWN_TO_CLASS, "nope", ("--shape", SQUARE, "--shape.nope", "3")),
    Canary(Wording.UNKNOWN_TO_GROUP, "nope", config="group: {nope: 3}"),
    Canary(Wording.UNKNOWN_COMMAND, "nope", ("nope",), command=True),
    Canary(Wording.NO_COMMAND, 'expected "subcommand"', command=True),
    Canary(Wording.NO_VALUE, "--n", ("--n",)),
    Canary(Wording.MISSING, "size", ("--shape", SQUARE)),
    Canary(Wording.KEY, "n", ("--n", "x")),
    Canary(Wording.NESTED_KEY, "size", ("--shape", SQUARE, "--shape.size", "x")),
    Canary(Wording.GIVEN, "x y", ("--n", "x y")),
    Canary(Wording.GIVEN, "x.y", ("--shape", "x.y")),
    Canary(Wording.NO_SUCH_CLASS, ("no.Such", "No module named 'no'"), ("--shape", "no.Such")),
    Canary(Wording.NO_DOTTED_PATH, "Sqare", ("--shape", "Sqare")),
    Canary(Wording.NO_IMPORT_PATH, "no-such.Class", ("--many", "no-such.Class")),
    Canary(Wording.OTHER_CLASS, "Shape", ("--shape", "json.JSONDecoder")),
    Canary(Wording.NO_CLASS, "Shape", ("--many", "[3]")),
    Canary(Wording.ABSTRACT, "Expected an instantiatable class", ("--shape", f"{__name__}.Shape")),
    Canary(Wording.NO_FILE, "round.yaml", ("--shape", "round.yaml")),
    Canary(Wording.LITERAL, "'a', 'b'", ("--group.name", "c")),
    Canary(Wording.TUPLE, "2", ("--group.place", "[1, 2, 3]")),
    Canary(Wording.KIND, "int", ("--n", "x")),
    Canary(Wording.KIND, "Sequence", ("--widths", "3")),
    Canary(Wording.SCHEDULE, "<class 'ae_lightning.training.coefficients.Ramp'>", ("--coefficient", "x")),
    Canary(Wording.OTHER_KEYS, "ende", config="coefficient: {start: 1, ende: 2}"),
    Canary(Wording.WRAPPED, "Does not validate against any of the Union subtypes", ("--shape", "x.y")),
]


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.wording.name)
def test_the_parser_still_says_it_in_these_words(
    canary: Canary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    message = raw(*canary.arguments, config=canary.config, command=canary.command)
    assert canary.wording.find(message), message
    assert canary.wording.find_all(message)[0] == canary.captured, message


def test_every_wording_has_a_canary() -> None:
    assert {canary.wording for canary in CANARIES} | {Wording.DENIED} == {*Wording}  # the last by the test below


def test_what_safe_mode_denies_is_named(denying: None) -> None:
    assert denied_in(raw("--shape", "json.JSONDecoder")) == "json.JSONDecoder"
    assert denied_in(raw("--n", "x")) is None


@pytest.mark.parametrize("frame", FRAMES)
def test_the_lines_around_a_reason_still_begin_so(frame: str) -> None:
    message = raw("--shape", "no.Such")
    assert [line for line in message.splitlines() if line.strip().removeprefix("- ").startswith(frame)], message


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--shape", SQUARE, "--shape.nope", "3"], "Option 'nope' is not accepted"),
        (["--shape", "Sqare"], "Expected a path but Sqare either not accessible or invalid"),
        (["--shape", SQUARE], "the following arguments are required: size"),
    ],
)
def test_a_reason_is_found_among_the_lines_around_it(arguments: list[str], reason: str) -> None:
    message = raw(*arguments)
    assert is_wrapped(message)
    assert len(message.splitlines()) > 5
    assert reason_of(message) == reason


def test_a_message_of_one_line_wraps_nothing() -> None:
    assert not is_wrapped(raw("--nope"))
    assert reason_of(raw("--nope")) == "unrecognized arguments: --nope"


# --- a release of the parser that was not tested -----------------------------------------------


@pytest.fixture
def next_release(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the installed jsonargparse were newer than all that were tested."""
    monkeypatch.setattr(upstream, "_installed", lambda package: (999, 0))


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--nope"], "unrecognized arguments: --nope"),
        (["--n", "x"], "Parser key \"n\": Expected a <class 'int'>. Got value: x"),
        (["--shape", SQUARE, "--shape.nope", "3"], "--shape.nope: Option 'nope' is not accepted"),
    ],
)
def test_of_another_release_the_message_is_shown_as_it_is(arguments: list[str], shown: str, next_release: None) -> None:
    assert explain(raw(*arguments), ["--n", "--shape"], []) == shown


def test_of_another_release_nothing_is_explained_as_denied(next_release: None, denying: None) -> None:
    assert denied_in(raw("--shape", "json.JSONDecoder")) is None


def test_a_class_that_lacks_an_argument_is_not_taken_for_a_model_that_was_not_named() -> None:
    message = raw("--shape", SQUARE).replace(__name__, "ae_lightning.models.square")
    assert explain(message, [], []) == "--shape.size must be given"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--model.penalty_weight.ende", "3"], "there is no option --model.penalty_weight.ende; did you mean "
                                               "--model.penalty_weight.end?"),
        (["--model.penalty_weight.shape", "cosin"], "--model.penalty_weight.shape should be one of linear, cosine, but "
                                                    "it is 'cosin'"),
        (["--model.penalty_weight.end", "x"], "--model.penalty_weight.end should be a number, but it is 'x'"),
        (["--model.penalty_weight", "x"], "--model.penalty_weight should be a number or a list such as [1, 2] or a "
                                          "schedule with start and end, but it is 'x'"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_schedule_names_the_setting_with_its_whole_path(
    arguments: list[str], sentence: str, ae: Callable[..., Any]
) -> None:
    outcome = ae("fit", "--model", "StandardSAE", "--model.penalty_weight.start", "0", *arguments)
    assert outcome.code == 2
    assert sentence in outcome.err


def test_a_list_is_asked_for_where_numbers_stand_without_brackets(ae: Callable[..., Any]) -> None:
    outcome = ae("fit", "--model", "MatryoshkaSAE", "--model.prefixes", "16,32")
    assert outcome.code == 2
    assert "--model.prefixes should be a list such as [1, 2], but it is '16,32'" in outcome.err
