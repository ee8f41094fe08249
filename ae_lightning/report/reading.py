"""What the figures of a report are called, and how each is read."""

TITLES_AND_READINGS = {
    "training": (
        "Training",
        "Losses over optimizer steps; beside them what a linear classifier reads from the code, and from what it is "
        "compared with.",
    ),
    "penalties": (
        "Terms of the loss",
        "Each term as it is before its weight, in training and on the validation set, in the units of the input as "
        "the model scales it.",
    ),
    "reconstructions": (
        "Reconstructions",
        "Test samples, what the model makes of them, and the difference: red is too bright, blue too dark.",
    ),
    "encoder_units": (
        "What units read",
        "Encoder rows as images, the most important unit first: red pixels excite a unit, blue ones inhibit it. Pixels "
        "that no training sample lights are left out.",
    ),
    "decoder_units": (
        "What units write",
        "Decoder rows of the same units: what each adds to the image where it is active.",
    ),
    "encoder_through_training": (
        "What units read, in the course of training",
        "Encoder rows of the units that were most important at each of these snapshots.",
    ),
    "ranks_through_training": (
        "The most important units at each moment",
        "A row is a rank and a column a snapshot, so that units change where the number above an image does.",
    ),
    "units_through_training": (
        "The same units at each moment",
        "A row is a unit that is among the most important in the end, and a column a snapshot.",
    ),
    "importance": (
        "Importance",
        "Norm of the encoder row, times mean activation, times norm of the decoder row: a steep line means that few "
        "units do most of the work.",
    ),
    "top_units": (
        "Which units lead",
        "Ranks over training of the units that are most important in the end; where lines cross, units overtake.",
    ),
    "causal_importance": (
        "Does importance say what a unit is worth?",
        "The growth of the error when a unit is switched off, against its importance; on a line the two would agree.",
    ),
    "removal": (
        "How many units are needed?",
        "The error when units are switched off one after the other, in three orders.",
    ),
    "cosines": (
        "Do units write what they read?",
        "Cosine of each unit's encoder and decoder row: 1 where it writes just what it reads.",
    ),
    "spectrum": (
        "Singular values",
        "Those of encoder and decoder, and dashed at the start; a long tail means that many directions are used.",
    ),
    "effective_rank": (
        "Effective rank",
        "The number of directions that the weights use, after Roy and Vetterli (2007), over training.",
    ),
    "mean_activation": (
        "How active latents are",
        "Left the mean activation of each latent, right on how many test samples it fires; those that never do are "
        "the dead ones of the table.",
    ),
    "latent_histograms": (
        "Values of latents",
        "Values of the strongest latents where they are not zero, and of all latents together.",
    ),
    "contributions": (
        "A reconstruction taken apart",
        "The decoder's bias and what each latent adds, which together are the reconstruction.",
    ),
    "features": (
        "Directions in the plane",
        "Each arrow is a feature of a toy model, or a decoder row over the known true directions in gray.",
    ),
    "hidden_states": (
        "Samples in the plane",
        "Test samples that are not zero and their reconstructions, joined by lines.",
    ),
    "fraction_active": (
        "Firing in the course of training",
        "How often each latent fires on the test set, snapshot by snapshot.",
    ),
    "active_latents": (
        "Active latents in the course of training",
        "L0, the mean number of latents that fire on a validation sample; dashed what the settings ask for.",
    ),
    "dead_latents": (
        "Dead latents in the course of training",
        "Latents that fired on none of the last `dead_after` training samples, and latents that fire on no validation "
        "sample: two questions, with two answers.",
    ),
    "thresholds": (
        "Thresholds",
        "What a latent has to exceed to fire, in the units of the input as the model scales it: latent by latent in "
        "the end, where each has its own, and over training.",
    ),
    "prefixes": (
        "What each prefix reconstructs",
        "The first latents alone, and the decoder's bias: their error on the test set, in the units of the data, and "
        "the variance that they explain.",
    ),
    "animation": (
        "Directions in the course of training",
        "A frame for each snapshot, with latents in red that were resampled since the one before.",
    ),
    "interpolation": (
        "Between two codes",
        "The codes on the straight line between those of two test samples, decoded.",
    ),
    "arithmetic": (
        "Sums of codes",
        "The code of the first sample, plus that of the second, minus that of the third, decoded.",
    ),
    "samples": (
        "Random codes",
        "Codes drawn from a normal with the mean and covariance of the training codes, decoded.",
    ),
    "grid": (
        "A plane of codes",
        "Codes at equal distances over the plane that the scatter shows, decoded.",
    ),
    "scatter": (
        "Codes of test samples",
        "Each point is the code of a test sample, colored by class where there are classes.",
    ),
    "layers": (
        "Layer by layer",
        "What each layer of the encoder gives, from the input on, and the code last.",
    ),
}
"""Title and a sentence on how to read it, by name of the figure."""


def reading_of(name: str) -> str:
    """The sentence on how to read a figure."""
    return TITLES_AND_READINGS[name][1]
