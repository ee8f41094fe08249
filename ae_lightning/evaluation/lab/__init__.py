"""What came out of a lab: how true each dictionary's latents are, beside baselines, and which differences are noise."""
