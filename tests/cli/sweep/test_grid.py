"""Grids as text: what is read from the command line, and the names that follow."""

import pytest

from ae_lightning.cli.sweep.grid import (
    fit_options,
    parse_grid,
    parse_seeds,
    run_name,
    short_names,
    split_values,
    text_of,
)
from ae_lightning.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("2,16,32", ["2", "16", "32"]),
        ("2", ["2"]),
        (" 2 , 16 ", ["2", "16"]),
        ("[128],[512,256],[]", ["[128]", "[512,256]", "[]"]),
        ("[[1,2],[3]],{a: 1, b: 2},(4,5)", ["[[1,2],[3]]", "{a: 1, b: 2}", "(4,5)"]),
        ("'a,b',c", ["a,b", "c"]),
        ('"[",x', ["[", "x"]),
        ("['a]',b],c", ["['a]',b]", "c"]),
        ("null,0.1,1e-3", ["null", "0.1", "1e-3"]),
    ],
)
def test_values_are_split_at_commas_outside_brackets_and_quotes(text: str, values: list[str]) -> None:
    assert split_values(text, "") == values


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1,2", r"\[ is not closed"),
        ("1],2", "] was never opened"),
        ("[1)", r"\) was never opened"),
        ("'a,b", "' is not closed"),
        ("2,,16", "nothing before or after a comma"),
        ("2,", "nothing before or after a comma"),
    ],
)
def test_what_cannot_be_split_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        split_values(text, f"key={text}")


@pytest.mark.parametrize(
    "spelling",
    ["model.latent_dim", "--model.latent_dim", "model.init_args.latent_dim", "--model.init_args.latent_dim"],
)
def test_a_key_may_be_spelled_in_four_ways(spelling: str) -> None:
    assert parse_grid([f"{spelling}=2,16"]) == {"model.latent_dim": ["2", "16"]}


def test_the_order_of_keys_is_kept_and_a_value_may_hold_an_equals_sign() -> None:
    grid = parse_grid(["model.optimizer.init_args.lr=1e-3,1e-2", "data.root=a=b,c"])
    assert list(grid.items()) == [("model.optimizer.lr", ["1e-3", "1e-2"]), ("data.root", ["a=b", "c"])]


def test_seeds() -> None:
    assert parse_seeds("0") == [0]
    assert parse_seeds("7, 1,4294967295") == [7, 1, 4294967295]
    for text in ("1.5", "-1", "a", "1,,2", "4294967296", "²"):
        with pytest.raises(ConfigError, match="whole numbers from 0"):
            parse_seeds(text)
    with pytest.raises(ConfigError, match="a value twice: 1 and 01, which is the same"):
        parse_seeds("1,2,01")


@pytest.mark.parametrize(
    ("keys", "taken", "names"),
    [
        (["model.latent_dim"], [], ["latent_dim"]),
        (["model", "data"], [], ["model", "data"]),
        (["model.lr_scheduler.gamma", "model.optimizer.lr"], [], ["gamma", "lr"]),
        (["a.b.lr", "c.d.lr"], [], ["b.lr", "d.lr"]),
        (["a.b.lr", "c.b.lr", "b.x"], [], ["a.b.lr", "c.b.lr", "x"]),
        (["model", "other.model"], [], ["model", "other.model"]),
        (["data.seed"], ["seed", "run"], ["data.seed"]),
    ],
)
def test_short_names_are_the_shortest_tails_that_differ(keys: list[str], taken: list[str], names: list[str]) -> None:
    assert list(short_names(keys, taken).values()) == names


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (16, "16"),
        (0.001, "0.001"),
        (1.0, "1"),
        (1e30, "1e+30"),
        (-2, "-2"),
        (True, "true"),
        (None, "null"),
        ("leaky_relu", "leaky_relu"),
        ([512, 256], "512-256"),
        ([], "none"),
    ],
)
def test_the_folder_of_a_run_is_named_by_its_values(value: object, name: str) -> None:
    assert run_name({"key": value}, 3) == f"key={name},seed=3"


def test_names_are_safe_for_any_file_system_and_differ_where_signs_are_lost() -> None:
    texts = ["configs/model/a.yaml", "configs model a.yaml", "../x", "a:b", "a?b", "x" * 200, "x" * 201, "a,b", "ü*"]
    names = [run_name({"model": text, "lr": 0.1}, 0) for text in texts]
    assert len(set(names)) == len(texts)
    for name in names:
        assert not set(name) & set('/\\:*?"<>| \n')
        assert name.count(",") == 2
        assert len(name) < 100


def test_values_as_people_write_them() -> None:
    values = [0.001, 2.0, 1e-8, [1, [2, 3.0]], "a b", False, None]
    assert [text_of(value) for value in values] == ["0.001", "2", "1e-08", "[1,[2,3.0]]", "a b", "false", "null"]


def test_options_of_a_point_come_last_but_a_part_before_the_options_for_it() -> None:
    options = ["--config", "a.yaml", "--trainer.max_epochs", "3", "--model.latent_dim=8"]
    assert fit_options(options, {"data.seed": "1"}, 5) == [*options, "--data.seed=1", "--seed_everything=5"]
    assert fit_options(options, {"data.seed": "1", "model": "deep"}, None) == [
        *("--config", "a.yaml", "--model=deep", "--trainer.max_epochs", "3", "--model.latent_dim=8", "--data.seed=1")
    ]


def test_whole_parts_come_before_their_settings() -> None:
    point = {"model.optimizer.lr": "1", "model.optimizer": "SGD", "model": "deep"}
    assert fit_options(["-c", "a"], point, None)[2:] == [
        "--model=deep",
        "--model.optimizer=SGD",
        "--model.optimizer.lr=1",
    ]


@pytest.mark.parametrize("spelling", ["--model.latent_dim=3", "--model.init_args.latent_dim"])
def test_a_key_that_is_an_option_too_is_refused(spelling: str) -> None:
    with pytest.raises(ConfigError, match=r"model\.latent_dim is an option and in --grid as well"):
        fit_options([spelling, "3"], {"model.latent_dim": "2"}, None)
