"""The bundled Kosmos network: KOSMOS-2's architecture in plain PyTorch, readable top to bottom.

`config` names the sizes, `vision` sees, `resampler` turns what was seen into image tokens, `decoder` reads and writes,
`model` puts the three together, `weights` loads and saves them, `tokenizer`, `images` and `processor` make their input.
"""
