"""What the figures of a report are called, and how each is read."""

TITLES_AND_READINGS = {
    "training": (
        "Training",
        "Losses over optimizer steps.",
    ),
    "penalties": (
        "Terms of the loss",
        "Each term before its weight, in training and on the validation set.",
    ),
    "frontier": (
        "What sparsity costs",
        "Fraction of variance unexplained on the test set over the mean number of active latents: less of both is "
        "better. A point is a setting; bars are ± one standard deviation where several instances share it.",
    ),
    "reconstructions": (
        "Reconstructions",
        "Test samples and what the model makes of them: below pictures the error, red too bright and blue too dark; of "
        "vectors each entry over its reconstruction, with a dotted line where the two agree.",
    ),
    "structure": (
        "Strokes, spots or noise?",
        "Moran's I says how alike neighboring pixels of a decoder row are: near 1 for strokes and spots, near 0 for "
        "noise, whose range is gray. Units are shown from the most structured to the least, each with its value above "
        "it and its importance as a bar below it.",
    ),
    "units": (
        "What units read and write",
        "Encoder and decoder row of each unit, the most important unit first. Red pixels excite the unit, or are made "
        "brighter by it; blue ones inhibit it, or are made darker. Gray pixels are the same in all training samples.",
    ),
    "units_through_training": (
        "The same units at each moment",
        "What the most important units write: a row is a unit and a column a snapshot.",
    ),
    "exciting_samples": (
        "What excites latents",
        "The most important latents, a row each: the latent that points most nearly the same way, and the test samples "
        "on which this one is largest.",
    ),
    "decoder_cosines": (
        "How alike latents are",
        "Left the cosines of decoder rows, latents that are alike side by side. Right the largest cosine of each "
        "latent with another: those far to the right of the random directions are near copies.",
    ),
    "recovery": (
        "True features recovered",
        "Left the cosine of each true feature with the latent matched to it, on the diagonal, and with the others. "
        "Right the largest cosine of each feature with any latent.",
    ),
    "recovery_over_training": (
        "Recovery in the course of training",
        "How many true features some latent points along, and the mean cosines. Several instances are averaged.",
    ),
    "truths_over_training": (
        "Each truth in the course of training",
        "How nearly the latent that is matched to a true feature points along it, at each snapshot. Of many truths a "
        "row is one, the best in the end on top, and bands hold the middle half of truths and the middle 90 %.",
    ),
    "latents_over_training": (
        "Births, deaths and swaps",
        "A latent stands for the truth matched to it where |cosine| is above 0.71. Left how many do; right how many "
        "have come to since the snapshot before, have gone to another truth, and below zero have ceased to.",
    ),
    "interference": (
        "How features share dimensions",
        "Left the cosines of feature directions: red and blue squares off the diagonal are features that interfere. "
        "Right the length of each direction; a feature of length 0 is not represented.",
    ),
    "importance": (
        "Importance",
        "Norm of the encoder row, times mean activation, times norm of the decoder row: a steep line means that few "
        "units do most of the work.",
    ),
    "top_units": (
        "Which units lead",
        "The most important units in the end, and their ranks over training. Where lines cross, units overtake.",
    ),
    "causal_importance": (
        "Does importance say what a unit is worth?",
        "How much the error grows when a unit is switched off, against its importance. On a rising line the two agree.",
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
        "The mean activation of each latent, and how many latents fire how often on the test set, on a logarithmic "
        "scale. Those that never fire are dead.",
    ),
    "latent_histograms": (
        "Values of latents",
        "Left the values of the strongest latents, of a sparse code where they are not zero; right those of all "
        "latents.",
    ),
    "contributions": (
        "A reconstruction taken apart",
        "The decoder's bias and what each latent adds, which together are the reconstruction.",
    ),
    "features": (
        "Directions of features and latents",
        "Each arrow is a feature of a toy model, or a decoder row over the known true directions in gray. Those of "
        "three numbers are seen from where they lie furthest apart, and are pale where they point away.",
    ),
    "hidden_states": (
        "Samples as dots",
        "Test samples that are not zero and their reconstructions, joined by lines.",
    ),
    "fraction_active": (
        "Firing in the course of training",
        "On which part of the test samples latents fire, at each snapshot. Of ten latents or more: the median latent "
        "and two bands, the middle half of latents and the middle 90 %.",
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
        "What a latent has to exceed to fire, in the units of the input as the model scales it.",
    ),
    "prefixes": (
        "What each prefix reconstructs",
        "The first latents alone, and the decoder's bias: their error on the test set, in the units of the data, and "
        "the variance that they explain.",
    ),
    "animation": (
        "Directions in the course of training",
        "A frame for each snapshot, with latents in red that were resampled since the one before. Directions of three "
        "numbers turn once around in the end.",
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
        "Codes that are drawn at random, decoded.",
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


def decoded_from(source: str) -> str:
    """The sentence on how to read a figure of random codes, by what they were drawn from."""
    return f"Codes from {source}, decoded."
