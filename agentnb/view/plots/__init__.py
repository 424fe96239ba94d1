"""Draw plots as SVG, without a background, in colours that stand on light and dark. Pure."""
