"""Render runs: html, Markdown and plain text from documents and figures. Pure."""
