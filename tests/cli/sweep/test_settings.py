"""The settings of a sweep's runs, asked of fit's parser."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import resolve_names
from ae_lightning.cli.sweep.settings import make_record, plan, resolve, write_record
from ae_lightning.errors import ConfigError


def test_a_process_that_has_met_no_class_yet_knows_all_by_their_short_names(tmp_path: Path) -> None:
    callbacks = ["DecoderNorm", "Figures", "LinearProbe", "ResampleDeadLatents", "WeightStatistics", "EarlyStopping"]
    settings = {
        "model": {"class_path": "StandardSAE"},
        "data": {"class_path": "GaussianDataModule"},
        "trainer": {"callbacks": [{"class_path": name} for name in callbacks]},
    }
    settings["trainer"]["callbacks"][-1]["init_args"] = {"monitor": "val/loss"}
    config = tmp_path / "mine.yaml"
    config.write_text(yaml.safe_dump(settings))
    code = (
        "import json, sys; from ae_lightning.cli.sweep.settings import parse_fit;"
        "print(json.dumps(parse_fit(['--config', sys.argv[1]])))"
    )
    done = subprocess.run([sys.executable, "-c", code, str(config)], capture_output=True, text=True, check=True)
    parsed = json.loads(done.stdout.splitlines()[-1])
    assert [one["class_path"].rpartition(".")[2] for one in parsed["trainer"]["callbacks"]] == callbacks
    assert parsed["model"]["class_path"].endswith(".StandardSAE")


@pytest.mark.parametrize("grid", [{"model.latent_dim": ["4", "8"]}, {"model": ["overcomplete", "simple"]}])
def test_a_record_of_an_earlier_version_is_compared_as_one_of_today(grid: dict[str, list[str]], tmp_path: Path) -> None:
    """Options that have come since then have their defaults, also within a part that is swept."""

    def recorded(options: list[str]) -> dict[str, Any]:
        config = resolve_names(CommandLine(["--config", "overcomplete_digits"])).arguments
        resolved = resolve([*config, *options], grid, [])
        names = {key: key for key in grid}
        return make_record(tmp_path, resolved, names, plan(resolved, names, options, []))

    record = recorded([])
    del record["settings"]["lean"], record["settings"]["trainer"]["barebones"]
    for meaning in record["parts"].get("model", {}).values():
        del meaning["init_args"]["reconstruction_loss"]
    write_record(tmp_path, record)
    assert recorded([])["runs"] == record["runs"]
    with pytest.raises(ConfigError, match="were made with lean true, and now it is false"):
        recorded(["--lean", "false"])
