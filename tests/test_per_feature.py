import pytest
import torch

from ae_lightning.errors import ConfigError
from ae_lightning.per_feature import per_feature


@pytest.mark.parametrize(
    ("value", "instances", "truth"),
    [
        (0.5, None, [0.5, 0.5, 0.5]),
        (2, 4, [2.0, 2.0, 2.0]),
        ([1.0, 2, 0.0], None, [1.0, 2.0, 0.0]),
        ([1.0, 2.0, 3.0], 3, [1.0, 2.0, 3.0]),  # by feature, also where there are as many instances
        ([[1.0], [0.5]], 2, [[1.0] * 3, [0.5] * 3]),
        ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], 2, [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        ([[1.0], [4.0, 5.0, 6.0]], 2, [[1.0] * 3, [4.0, 5.0, 6.0]]),
        ([[1.0]], 1, [[1.0] * 3]),
    ],
    ids=str,
)
def test_numbers_are_given_once_or_by_feature_or_by_instance(value, instances, truth):
    found = per_feature("--x", value, 3, instances)
    assert found.dtype == torch.float32
    assert found.tolist() == truth


def test_a_single_feature_has_a_list_of_one():
    assert per_feature("--x", [7.0], 1, None).tolist() == [7.0]
    assert per_feature("--x", [[7.0], [8.0]], 1, 2).tolist() == [[7.0], [8.0]]


@pytest.mark.parametrize(
    ("value", "instances", "sentence"),
    [
        ([1.0], None, "--x has 1 number for 3 features; give one for each"),
        ([], None, "--x has 0 numbers for 3 features; give one for each"),
        ([1.0, 2.0], 2, "--x has 2 numbers for 3 features; give one for each"),
        ([[1.0, 2.0], [1.0]], 2, "--x has 2 numbers for 3 features; give one for each"),
        ([[1.0], []], 2, "--x has 0 numbers for 3 features; give one for each"),
        ([[1.0], [2.0]], None, "--x has a list for each of 2 instances, but there are no instances"),
        ([[1.0], [2.0]], 3, "--x has a list for each of 2 instances, but there are 3 instances"),
    ],
    ids=str,
)
def test_another_count_is_one_sentence_that_names_the_option(value, instances, sentence):
    with pytest.raises(ConfigError) as error:
        per_feature("--x", value, 3, instances)
    assert str(error.value) == sentence
