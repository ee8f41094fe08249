"""The command line: `ae-lightning fit --config …` and its companions."""
