"""Show answers: Markdown that a model wrote, as html, as Markdown again, and as text for a terminal. Pure."""
