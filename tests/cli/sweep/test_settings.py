"""The settings of a sweep's runs, asked of fit's parser."""

import json
import subprocess
import sys
from pathlib import Path

import yaml


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
