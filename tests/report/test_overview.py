"""The tables of a report: their numbers are those of the results that they are given."""

import copy
import math

import pytest

from ae_lightning.report.overview import error_table, latent_table, probe_table, settings_table

RESULTS = {
    "checkpoint": "best.ckpt",
    "seed": 7,
    "model": {
        "class": "OvercompleteAutoencoder",
        "parameters": 2128,
        "input_shape": [1, 8, 8],
        "latent_shape": [16],
        "instances": None,
        "is_undercomplete": True,
        "images_seen": 12930,
    },
    "data": {"class": "DigitsDataModule", "description": "Digits: 1,293 train images", "hash": "c7d9dc6a28d7b707"},
    "errors": {
        "test": {
            "autoencoder": {
                "mse_per_pixel": 0.0123456,
                "mse_per_image": 0.790118,
                "explained_variance": 0.8321,
                "mse_per_pixel_std": 0.006,
            },
            "mean_image": {
                "mse_per_pixel": 0.074,
                "mse_per_image": 4.736,
                "explained_variance": -0.0021,
                "mse_per_pixel_std": 0.015,
            },
            "pca": {
                "mse_per_pixel": 0.0116,
                "mse_per_image": 0.7424,
                "explained_variance": 0.8427,
                "mse_per_pixel_std": 0.0046,
            },
        }
    },
    "pca_components": 16,
    "latents": {
        "active": 14.0,
        "dead": 2.0,
        "l0": 7.9,
        "hoyer": 0.5231,
        "near_zero": 0.5066,
        "mean_activation": {"median": 0.0972, "min": 0.0, "max": 0.55},
    },
    "recovery": {},
    "weights": {"weights/encoder_effective_rank": 15.53, "weights/decoder_effective_rank": 15.28},
    "versions": {"torch": "2.15.0", "numpy": "2.4.6"},
    "probes": {"probe/latent": 0.93, "probe/latent_se": 0.0134, "probe/raw": 0.95, "probe/raw_se": 0.0115},
    "seconds": 12.34,
}
CONFIG = {
    "seed_everything": 3,
    "model": {
        "class_path": "ae_lightning.models.OvercompleteAutoencoder",
        "init_args": {
            "input_shape": [1, 8, 8],
            "latent_dim": 16,
            "init": None,
            "optimizer": {"class_path": "torch.optim.Adam", "init_args": {"lr": 0.001}},
        },
    },
    "data": {"class_path": "DigitsDataModule", "init_args": {"batch_size": 64, "seed": 0}},
}


@pytest.fixture
def results():
    return copy.deepcopy(RESULTS)


def rows(table):
    return {name: numbers for name, *numbers in table.rows}


def settings(config, results):
    table = settings_table(config, results)
    assert table.is_text
    assert all(len(row) == len(table.columns) == 2 for row in table.rows)
    return {name: value for name, value in table.rows}


def test_numbers_far_from_1_can_be_read(results):
    ours, mean = (results["errors"]["test"][name] for name in ("autoencoder", "mean_image"))
    ours |= {"mse_per_pixel": 3.4e61, "mse_per_pixel_std": 4e61, "explained_variance": -3.4e61}
    mean |= {"mse_per_pixel": 1.2e-7, "mse_per_pixel_std": 4e-7}
    table = rows(error_table(results, 100, random_error=2.5e-9))
    assert table["this autoencoder"][0] == "3.4e+61 ± 4e+60"
    assert table["this autoencoder"][2] == "−3.4e+63%"
    assert table["mean of the training samples"][0] == "1.2e-07 ± 4e-08"
    assert table["random encoder, decoder by least squares"][0] == "2.5e-09"


def test_numbers_of_vectors_are_no_pixels_and_zero_has_no_sign(results):
    assert error_table(results, 100).columns[1] == "per pixel"
    results["model"]["input_shape"] = [64]
    results["errors"]["test"]["mean_image"]["explained_variance"] = -0.0002
    table = error_table(results, 100)
    assert table.columns[1] == "per entry"
    assert rows(table)["mean of the training samples"][2] == "0.0%"


# What was trained


def test_the_settings_are_those_of_the_run(results):
    told = settings(CONFIG, results)
    assert told["model"] == "OvercompleteAutoencoder, 1×8×8 → 16"
    assert told["parameters"] == "2,128"
    assert told["settings of the model"] == "latent_dim 16"
    assert told["settings of the data"] == "batch_size 64, seed 0"
    assert told["optimizer"] == "Adam, lr 0.001"
    assert told["data"] == "Digits: 1,293 train images"
    assert told["hash of the training set"] == "c7d9dc6a28d7b707"
    assert told["seed"] == "7"
    assert told["samples seen"] == "12,930"
    assert told["training time"] == "12.3 s"
    assert told["versions"] == "torch 2.15.0, numpy 2.4.6"


def test_settings_that_older_runs_lack(results):
    del results["seed"], results["seconds"]
    config = copy.deepcopy(CONFIG)
    del config["model"]["init_args"]["optimizer"]
    told = settings(config, results)
    assert (told["seed"], told["training time"], told["optimizer"]) == ("3", "not known", "the variant's own")


def test_a_config_without_a_part_names_the_other_one_rightly(results):
    told = settings({"data": CONFIG["data"]}, results)
    assert told["settings of the data"] == "batch_size 64, seed 0"
    assert "settings of the model" not in told
    assert told["data"] == "Digits: 1,293 train images"


@pytest.mark.parametrize(("seconds", "told"), [(119.9, "119.9 s"), (120, "2.0 min"), (5400, "90.0 min")])
def test_a_long_time_is_told_in_minutes(seconds, told, results):
    assert settings(CONFIG, results | {"seconds": seconds})["training time"] == told


def test_instances_are_counted(results):
    results["model"]["instances"] = 5
    assert settings(CONFIG, results)["parameters"] == "2,128 in 5 instances"


# Errors


def test_errors_are_those_of_the_test_set(results):
    table = error_table(results, 400)
    assert [len(row) for row in table.rows] == [len(table.columns)] * 3
    told = rows(table)
    # A standard deviation of 0.006 over 400 samples: the mean is known to 0.006 / 20 = 0.0003.
    assert told["this autoencoder"] == ["0.01235 ± 0.00030", "0.7901", "83.2%"]
    assert told["mean of the training samples"] == ["0.07400 ± 0.00075", "4.736", "−0.2%"]
    assert told["PCA, 16 components"] == ["0.01160 ± 0.00023", "0.7424", "84.3%"]
    assert "over 400 samples" in table.note


def test_a_code_as_wide_as_the_input_has_an_exact_pca_and_no_rounding_errors(results):
    results["pca_components"] = 64
    assert rows(error_table(results, 400))["PCA, 64 components"] == ["exact", "exact", "100%"]
    results["pca_components"] = 63
    assert rows(error_table(results, 400))["PCA, 63 components"][0] == "0.01160 ± 0.00023"


def test_the_random_encoder_has_a_row_if_it_is_known(results):
    table = error_table(results, 400, 0.025)
    # 64 pixels of an error of 0.025 each are 1.6.
    assert table.rows[-1] == ["random encoder, decoder by least squares", "0.02500", "1.6", ""]
    assert [len(row) for row in table.rows] == [len(table.columns)] * 4


def test_older_errors_have_no_deviation_and_no_explained_variance(results):
    for numbers in results["errors"]["test"].values():
        del numbers["mse_per_pixel_std"], numbers["explained_variance"]
    assert rows(error_table(results, 400))["this autoencoder"] == ["0.01235", "0.7901", ""]


# Probes


def test_accuracies_of_the_probes(results):
    table = probe_table(results)
    assert rows(table) == {"code": ["0.9300 ± 0.0134"], "raw samples": ["0.9500 ± 0.0115"]}
    assert "the first training samples" in table.note


def test_the_probe_on_all_samples_is_preferred(results):
    results["probes"] |= {"probe_full/latent": 0.97, "probe_full/latent_se": 0.009, "probe_full/pca": 0.9}
    table = probe_table(results)
    told = rows(table)
    assert list(told) == ["code", "PCA of the same width"]
    assert told["code"] == ["0.9700 ± 0.0090"]
    assert "all training samples" in table.note


def test_no_probe_is_no_table(results):
    assert probe_table(results | {"probes": {}}) is None
    assert probe_table({name: value for name, value in results.items() if name != "probes"}) is None


def test_an_accuracy_of_unknown_error_is_told_without_one(results):
    told = rows(probe_table(results | {"probes": {"probe/latent": 0.93}}))
    assert told == {"code": ["0.9300"]}


# Latents


def test_numbers_of_the_code(results):
    told = rows(latent_table(results))
    assert told["latents that fire on a test sample, on none (dead)"] == ["14, 2"]
    assert told["active per sample (L0)"] == ["7.9"]
    assert told["Hoyer's measure"] == ["0.523"]
    assert told["fraction of values within 0.001 of zero"] == ["0.507"]
    assert told["effective rank of the encoder"] == ["15.5"]
    assert told["effective rank of the decoder"] == ["15.3"]
    assert len(told) == 6


def test_the_target_of_a_penalty_stands_beside_what_was_reached(results):
    results["latents"]["target"] = 0.05
    told = rows(latent_table(results))
    assert told["mean activation of the median latent, and its target"] == ["0.0972, 0.05"]


def test_features_that_were_recovered(results):
    scores = {"fraction_recovered": 0.875, "fully_recovered_instances": 3.0, "instances": 8, "mcc": 0.91, "mmcs": 0.92}
    told = rows(latent_table(results | {"recovery": scores}))
    assert told["true features recovered"] == ["87.5%"]
    assert told["instances that recover all"] == ["3 of 8"]
    assert told["MCC, MMCS"] == ["0.910, 0.920"]


def test_an_older_run_has_fewer_rows(results):
    for name in ("recovery", "weights"):
        del results[name]
    results["latents"] = {"active": 14.0, "dead": 2.0, "l0": 7.9}
    assert len(latent_table(results).rows) == 2
    told = [cell for table in (latent_table(results), error_table(results, 1)) for row in table.rows for cell in row]
    assert not any("nan" in cell or cell == str(math.nan) for cell in told)


def test_it_is_said_at_the_numbers_that_they_are_not_of_unseen_data(results):
    assert error_table(results, 360).columns[0] == "squared error on the test set"
    results["test_is_validation"] = True
    assert error_table(results, 360).columns[0] == "squared error on the test set, which is the validation set"


def test_what_baselines_were_fitted_to_is_said_where_it_is_a_part(results):
    results["baseline_samples"] = {"count": 60000, "drawn": False}
    assert "drawn" not in error_table(results, 360).note
    results["baseline_samples"] = {"count": 20000, "drawn": True}
    assert "20,000 training samples drawn at random" in error_table(results, 360).note


def test_null_stands_for_what_is_not_finite(results):
    for name in ("mse_per_pixel", "mse_per_image", "mse_per_pixel_std", "explained_variance"):
        results["errors"]["test"]["autoencoder"][name] = None
    assert rows(error_table(results, 360))["this autoencoder"] == ["nan", "nan", ""]
