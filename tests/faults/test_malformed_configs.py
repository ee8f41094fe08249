"""Configs that no run could come of: each is answered by one sentence that says where and what would be right."""

import pytest

MODEL = "model:\n  class_path: OvercompleteAutoencoder\n  init_args:\n    latent_dim: 8\n"
OPTIMIZER = MODEL + "    optimizer:\n      class_path: Adam\n      init_args:\n        lr: {}\n"
ALIASES = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9))


def trainer(settings: str) -> str:
    return f"{MODEL}trainer:\n  {settings}\n"


#: The text of mine.yaml, and facts of the answer.
CONFIGS = {
    # --- YAML itself, with the line
    "a tab": ("model:\n\tclass_path: X\n", "mine.yaml, line 2, column 1", "'\\t'"),
    "a quote that is not closed": ("model: 'abc\n", "mine.yaml, line 2", "stream"),
    "a bracket that is not closed": ("model: [1, 2\ndata: 3\n", "mine.yaml, line 2", "YAML"),
    "a second document": (f"{MODEL}---\n{MODEL}", "mine.yaml, line 5", "document"),
    "an alias of nothing": ("model: *nothing\n", "mine.yaml, line 1", "'nothing'"),
    "a tag that names code": ("model: !!python/object/apply:os.system [touch owned]\n", "line 1", "os.system"),
    "a name twice": (MODEL + MODEL, "mine.yaml, line 5", "model", "first in line 1"),
    "an inner name twice": (MODEL + "    latent_dim: 9\n", "line 5", "latent_dim", "first in line 4"),
    "no number of a date": ("model: 2020-99-99\n", "mine.yaml", "month"),
    "two bytes a letter": (MODEL.encode("utf-16"), "mine.yaml", "YAML"),
    "a null byte": ("model: \0\n", "mine.yaml", "YAML"),
    "a name that is a number": (f"{MODEL}1: 2\n", "mine.yaml", "by words", "1"),
    "a name that is null": (f"{MODEL}null: 2\n", "mine.yaml", "words"),
    # --- cyclic, and beyond all measure
    "a mapping that holds itself": (
        "model: &m\n  class_path: OvercompleteAutoencoder\n  init_args: *m\n",
        "mine.yaml, line 1, column 8",
        "alias",
    ),
    "a list that holds itself": (trainer("callbacks: &c\n  - *c"), "mine.yaml, line 6", "alias"),
    "a config that names itself": (f"config: mine.yaml\n{MODEL}", "mine.yaml -> mine.yaml"),
    "aliases of aliases": (f"a0: &a0 [1]\n{ALIASES}", "mine.yaml", "100,000"),
    "three thousand brackets": (f"model: {'[' * 3000}{']' * 3000}\n", "mine.yaml", "deep"),
    # --- parts that are missing, or something else
    "a null for the model": ("model: null\n", "no model was named", "--model.help"),
    "an empty model": ("model: {}\n", "--model", "{}"),
    "a number for the model": ("model: 5\n", "--model", "5", "Autoencoder"),
    "a list for the model": ("model: [1, 2]\n", "--model", "Autoencoder"),
    "a number for a class": ("model:\n  class_path: 5\n", "mine.yaml", "class_path", "5"),
    "a list for a class": ("model:\n  class_path: [a]\n", "class_path", "['a']"),
    "null for a class": ("model:\n  class_path: null\n", "class_path", "None"),
    "text for arguments": ("model:\n  class_path: ToyModel\n  init_args: wide\n", "init_args", "'wide'"),
    "a list for arguments": ("model:\n  class_path: ToyModel\n  init_args: [1]\n", "init_args", "[1]"),
    "a class of another kind": ("model: torch.nn.Linear\n", "--model", "torch.nn.Linear"),
    "a function that runs commands": (
        "model:\n  class_path: os.system\n  init_args: {command: touch owned}\n",
        "--model",
        "is no Autoencoder",
    ),
    "a module that there is not": ("model: nowhere.Thing\n", "--model", "nowhere.Thing"),
    "null for the data": (f"{MODEL}data: null\n", "mine.yaml", "data", "digits"),
    "a number for the data": (f"{MODEL}data: 5\n", "--data", "5", "AutoencoderDataModule"),
    "null for the trainer": (f"{MODEL}trainer: null\n", "mine.yaml", "None", "max_epochs: 5"),
    "a list for the trainer": (f"{MODEL}trainer: [1]\n", "mine.yaml", "[1]", "max_epochs: 5"),
    "a word for the trainer": (f"{MODEL}trainer: fast\n", "mine.yaml", "'fast'", "trainer/cpu.yaml"),
    "a list for the optimizer": (f"{MODEL}    optimizer: [Adam]\n", "mine.yaml", "optimizer", "['Adam']"),
    "a number for the optimizer": (f"{MODEL}    optimizer: 3\n", "mine.yaml", "optimizer", "3"),
    "a mapping of callbacks": (trainer("callbacks: {LinearProbe: {}}"), "mine.yaml", "a list", "- class_path"),
    "a number for a callback": (trainer("callbacks: [5]"), "--trainer.callbacks", "5", "Callback"),
    "an argument that a class has not": (
        trainer("callbacks: [{class_path: ModelCheckpoint, dict_kwargs: {depth: 3}}]"),
        "'depth'",
    ),
    # --- values of the wrong type, or out of range
    "not a number": (MODEL.replace("8", ".nan"), "--model.latent_dim", "whole number", "'nan'"),
    "infinity": (MODEL.replace("8", ".inf"), "--model.latent_dim", "whole number", "'inf'"),
    "a list for a number": (MODEL.replace("8", "[8]"), "--model.latent_dim", "whole number", "[8]"),
    "truth for a number": (MODEL.replace("8", "true"), "--model.latent_dim", "whole number", "'True'"),
    "null for a number": (MODEL.replace("8", "null"), "--model.latent_dim is null", "int"),
    "more than the memory holds": (MODEL.replace("8", "100000000000000"), "memory", "--model.latent_dim"),
    "a rate that is no number": (OPTIMIZER.format(".nan"), "--model.optimizer", "learning rate: nan"),
    "an infinite rate": (OPTIMIZER.format(".inf"), "--model.optimizer.lr is inf"),
    "a precision that there is not": (trainer("precision: 17"), "--trainer.precision", "bf16-mixed", "'17'"),
    "a strategy that there is not": (trainer("strategy: nope"), "'nope'", "ddp"),
    "more than all batches": (trainer("limit_train_batches: 2.5"), "2.5 for limit_train_batches", "[0.0, 1.0]"),
    "no batch at all": (trainer("limit_train_batches: 0"), "--trainer.limit_train_batches is 0"),
    "no epoch": (trainer("max_epochs: 0"), "--trainer.max_epochs is 0", "above 0"),
    "no step": (trainer("max_steps: 0"), "--trainer.max_steps is 0", "above 0"),
    "no batch to a step": (trainer("accumulate_grad_batches: 0"), "--trainer.accumulate_grad_batches is 0", "least 1"),
    "validation every zero epochs": (trainer("check_val_every_n_epoch: 0"), "check_val_every_n_epoch is 0", "least 1"),
    "validation after more than all": (trainer("val_check_interval: 9999"), "--trainer.val_check_interval", "9999"),
    "a row every minus one steps": (trainer("log_every_n_steps: -1"), "--trainer.log_every_n_steps is -1"),
    "clipping at no number": (trainer("gradient_clip_val: .nan"), "--trainer.gradient_clip_val is nan"),
    "a time in words": (trainer("max_time: soon"), "soon", "DD:HH:MM:SS"),
    "a profiler that there is not": (trainer("profiler: foo"), "profiler", "simple"),
    "a monitor that is misspelt": (f"{MODEL}checkpoint:\n  monitor: val/los\n", "val/los", "val/loss?"),
    "a monitor of another program": (f"{MODEL}checkpoint:\n  monitor: val_loss\n", "val_loss", "val/loss?"),
    "a seed below zero": (f"{MODEL}seed_everything: -1\n", "--seed_everything is -1", "4294967295"),
    "a seed beyond all": (f"{MODEL}seed_everything: 99999999999\n", "--seed_everything", "4294967295"),
    "a name too long for a folder": (f"{MODEL}experiment: {'x' * 300}\n", "--experiment", "255 bytes"),
    "a name with a null byte": (f'{MODEL}experiment: "a\\0b"\n', "--experiment", "'a\\x00b'"),
    "a number for a checkpoint": (f"{MODEL}ckpt_path: 5\n", "--ckpt_path", "5"),
    "a checkpoint that is not there": (f"{MODEL}ckpt_path: lost.ckpt\n", "lost.ckpt"),
}

#: The text of part.yaml, which mine.yaml names as its model, and facts of the answer.
PARTS = {
    "no YAML": ("class_path: [x\n", "part.yaml, line 2", "YAML"),
    "a name twice": ("class_path: ToyModel\nclass_path: ToyModel\n", "part.yaml, line 2", "line 1"),
    "a mapping that holds itself": ("&m\nclass_path: ToyModel\ninit_args: *m\n", "part.yaml", "alias"),
    "empty": ("", "part.yaml"),
    "a list": ("- 1\n", "--model", "Autoencoder"),
    "no class": ("class_path: 7\n", "part.yaml", "class_path", "7"),
    "a part that names itself": ("model/../part.yaml\n", "part.yaml"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_config_that_makes_no_run_is_refused_in_one_sentence(name, write, refused):
    text, *facts = CONFIGS[name]
    write({"mine.yaml": text})
    refused(["fit", "--config", "mine.yaml"], *facts)


@pytest.mark.parametrize("how", ["named in a config", "named by an option"])
@pytest.mark.parametrize("name", PARTS)
def test_a_part_that_makes_no_model_is_refused_in_one_sentence(name, how, write, refused):
    text, *facts = PARTS[name]
    write({"mine.yaml": "model: part.yaml\n", "part.yaml": text, "model/x.yaml": ""})
    refused(["fit", *(["--config", "mine.yaml"] if "config" in how else ["--model", "part.yaml"])], *facts)


def test_a_config_is_refused_by_every_command_that_reads_one(write, refused):
    write({"mine.yaml": "model: &m [*m]\n"})
    for command in (["fit"], ["test"], ["validate"], ["sweep", "--seeds", "0,1"]):
        refused([*command, "--config", "mine.yaml"], "mine.yaml, line 1")
