"""An example of a kosmos-eval plugin."""
