"""How fast the engine is, measured against Hugging Face on the same work, the same weights, in one process.

`shapes` makes networks, `work` makes requests, `hugging_face` holds the denominators, one function each, `measure`
times them in turns and checks that all say the same.
"""
