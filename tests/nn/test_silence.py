import copy

import pytest
import torch

from ae_lightning.nn.silence import SilentSamples


def alone(x, how):
    return x


def codes(*active, latents=3, batch=4):
    """Codes of which these latents fire, each on one sample."""
    z = torch.zeros(batch, latents)
    for row, latent in enumerate(active):
        z[row, latent] = 0.5
    return z


def test_samples_since_a_latent_last_fired_by_hand():
    count = SilentSamples(3)
    assert count.silent.tolist() == [0, 0, 0]
    for z, wanted in ((codes(0), [0, 4, 4]), (codes(1), [4, 0, 8]), (codes(batch=10), [14, 10, 18]), (codes(2, 0), 0)):
        count.observe(z)
        count.advance(alone)
        assert count.silent.tolist() == (wanted or [0, 14, 0])


def test_accumulated_batches_are_one_step():
    count = SilentSamples(3)
    for z in (codes(0), codes(), codes(1, batch=2)):
        count.observe(z)
        assert count.silent.tolist() == [0, 0, 0], "nothing moves until the optimizer steps"
    count.advance(alone)
    assert count.silent.tolist() == [0, 0, 10]
    count.advance(alone)
    assert count.silent.tolist() == [0, 0, 10], "what was taken up is not taken up twice"


def test_a_skipped_step_leaves_nothing():
    count = SilentSamples(3)
    count.observe(codes(0))
    count.forget()
    count.observe(codes(1))
    count.advance(alone)
    assert count.silent.tolist() == [4, 0, 4]


def test_two_processes_count_the_samples_of_both():
    counts, rooms = [SilentSamples(3), SilentSamples(3)], []
    counts[0].observe(codes(0))
    counts[1].observe(codes(1, batch=6))

    def gather(x, how):
        assert how == "sum"
        rooms.append(x.clone())
        return x

    for count in counts:
        copy.deepcopy(count).advance(gather)  # what each sends
    for count in counts:
        count.advance(lambda x, how: rooms[0] + rooms[1])
        assert count.silent.tolist() == [0, 0, 10]


def test_dead_is_silent_for_so_many_samples():
    count = SilentSamples(3)
    count.observe(codes(0))
    count.advance(alone)
    assert count.dead(4).tolist() == [False, True, True]
    assert count.dead(4.5).tolist() == [False, False, False]
    count.revive(torch.tensor([False, True, False]))
    assert count.silent.tolist() == [0, 0, 4]


def test_a_population_is_its_members():
    torch.manual_seed(0)
    population, members = SilentSamples(5, instances=2), [SilentSamples(5), SilentSamples(5)]
    for _ in range(6):
        z = (torch.randn(2, 3, 5) - 1).relu()
        population.observe(z)
        population.advance(alone)
        for member, one in zip(members, z, strict=True):
            member.observe(one)
            member.advance(alone)
    assert population.silent.tolist() == [member.silent.tolist() for member in members]
    assert int(population.silent.max()) > 0


def test_negative_codes_fire_too():
    count = SilentSamples(2)
    count.observe(torch.tensor([[-1.0, 0.0]]))
    count.advance(alone)
    assert count.silent.tolist() == [0, 1]


def test_who_was_silent_since_a_moment_whatever_happened_before():
    count = SilentSamples(3)
    count.observe(codes(0))
    count.advance(alone)
    seen = int(count.seen)
    for active, batch in ((1, 4), (0, 3)):
        count.observe(codes(active, batch=batch))
        count.advance(alone)
    assert (seen, int(count.seen)) == (4, 11)
    assert count.silent_since(seen).tolist() == [False, False, True]
    count.revive(torch.tensor([False, False, True]))
    assert not count.silent_since(seen).any()
    assert int(count.seen) == 11


@pytest.mark.parametrize("cast", ["half", "double"])
def test_the_count_is_kept_whole_and_alone(cast):
    count = SilentSamples(3)
    count.observe(codes(0))
    count.advance(alone)
    getattr(count, cast)()
    assert set(count.state_dict()) == {"silent", "seen"}
    assert count.silent.dtype == count.seen.dtype == torch.int64
    other = SilentSamples(3)
    other.load_state_dict(count.state_dict())
    assert other.silent.tolist() == [0, 4, 4]
