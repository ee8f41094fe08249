from ae_lightning.analysis.examples import pairs_of_classes, triple_of_classes


def test_pairs_join_the_first_samples_of_different_classes():
    classes = [3, 3, 0, 1, 0, 2]
    assert pairs_of_classes(classes, 6, 5) == [(2, 3), (5, 0)]
    assert pairs_of_classes(classes, 6, 1) == [(2, 3)]
    assert pairs_of_classes([1, 0, 2], 3, 5) == [(1, 0)], "of an odd number the last has no partner"


def test_without_two_classes_pairs_are_the_first_samples():
    assert pairs_of_classes([], 5, 4) == [(0, 1), (2, 3)]
    assert pairs_of_classes([7, 7, 7], 9, 2) == [(0, 1), (2, 3)]


def test_a_triple_has_its_ends_in_one_class_and_its_middle_in_another():
    assert triple_of_classes([4, 5, 5, 6]) == (1, 0, 2)
    assert triple_of_classes([4, 5, 4]) == (0, 1, 2)


def test_without_such_classes_a_triple_is_the_first_three():
    for classes in ([], [1, 1, 1], [1, 2, 3]):
        assert triple_of_classes(classes) == (0, 1, 2)
