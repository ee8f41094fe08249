"""Builds the documentation site: pages of the reference are made, and a link that leads nowhere stops the build."""
