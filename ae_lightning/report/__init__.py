"""What a run has to show: figures and animations, made from its folder, its model and its data."""
