"""Clone, split and prune: rows, optimizer moments and statistics stay together."""

import numpy as np
import pytest

from DSAReconLib.fitting.density import (
    CLONED,
    KEPT,
    SPLIT,
    VisibilityStatistics,
    grown,
    random_prune,
    row_edit,
    scatter_children,
)


def masks(count, **chosen):
    return {name: np.isin(np.arange(count), rows) for name, rows in chosen.items()}


def test_kept_rows_come_first_then_copies_then_pairs_of_children():
    edit = row_edit(6, **masks(6, clone=[1, 2], split=[3], prune=[0, 2]))
    assert edit.source.tolist() == [1, 4, 5, 1, 3, 3]
    assert edit.kind.tolist() == [KEPT, KEPT, KEPT, CLONED, SPLIT, SPLIT]
    assert edit.duplicated.tolist() == [True, False, False, True, True, True]
    assert edit.changes == {"cloned": 1, "split": 2}


def test_new_rows_begin_with_their_parents_values_and_without_momentum():
    table = {"means": np.arange(12.0).reshape(4, 3), "curve": np.arange(8.0).reshape(4, 2)}
    edit = row_edit(4, **masks(4, clone=[0], split=[2]))
    rows, moments = edit.rows(table), edit.moments(table)
    assert rows["means"][:, 0].tolist() == [0, 3, 9, 0, 6, 6]
    assert moments["curve"][:, 0].tolist() == [0, 2, 6, 0, 0, 0]
    assert table["means"][0, 1] == 1, "the old table is left alone"


def test_tensors_are_edited_like_arrays():
    torch = pytest.importorskip("torch")
    table = {"means": torch.arange(6.0).view(3, 2).requires_grad_()}
    edit = row_edit(3, **masks(3, clone=[1], prune=[0]))
    assert edit.rows(table)["means"].tolist() == [[2, 3], [4, 5], [2, 3]]
    assert edit.moments(table)["means"].tolist() == [[2, 3], [4, 5], [0, 0]]
    assert not edit.rows(table)["means"].requires_grad


def test_small_gaussians_are_cloned_and_large_ones_split():
    clone, split = grown(
        np.array([2.0, 2.0, 0.1]), np.array([1.0, 3.0, 3.0]), gradient_threshold=1.0, size_threshold=2.0
    )
    assert clone.tolist() == [True, False, False]
    assert split.tolist() == [False, True, False]


def test_little_room_goes_to_the_largest_gradients():
    clone, split = grown(
        np.array([2.0, 5.0, 3.0]), np.array([1.0, 3.0, 1.0]), gradient_threshold=1.0, size_threshold=2.0, room=2
    )
    assert clone.tolist() == [False, False, True]
    assert split.tolist() == [False, True, False]


def test_children_scatter_along_the_long_axis_of_their_parent():
    rng = np.random.default_rng(0)
    count = 2000
    edit = row_edit(count, split=np.ones(count, bool))
    quarter_turn = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    scales = np.tile([3.0, 1.0, 0.5], (len(edit), 1))
    moved = scatter_children(np.zeros((len(edit), 3)), scales, np.tile(quarter_turn, (len(edit), 1, 1)), edit, rng)
    np.testing.assert_allclose(moved.std(0), [1.0, 3.0, 0.5], rtol=0.05)


def test_accumulated_attenuation_is_a_mean_over_the_views_that_saw_a_gaussian():
    statistics = VisibilityStatistics(3)
    statistics.add(np.array([2, 1, 0]), np.array([4.0, 0.0, 0.0]), np.array([0.02, 0.0, 0.0]))
    statistics.add(np.array([2, 1, 0]), np.array([0.0, 3.0, 0.0]), np.array([0.0, 0.05, 0.0]))
    np.testing.assert_allclose(statistics.mean_gradient(), [1.0, 1.5, 0.0])
    np.testing.assert_allclose(statistics.mean_attenuation(), [0.005, 0.025, 0.0])
    kept = VisibilityStatistics.restored(statistics.state()).edited(row_edit(3, **masks(3, prune=[0])))
    np.testing.assert_allclose(kept.mean_gradient(), [1.5, 0.0])


def test_random_pruning_takes_the_fraction_and_depends_on_the_seed_only():
    first, again = (random_prune(100, 0.08, np.random.default_rng(3)) for _ in range(2))
    assert first.sum() == 8
    np.testing.assert_array_equal(first, again)


def test_masks_of_the_wrong_length_are_refused():
    with pytest.raises(ValueError, match="prune must have shape"):
        row_edit(3, prune=np.zeros(2, bool))
