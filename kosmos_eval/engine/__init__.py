"""How the Kosmos network is run: nothing is computed twice, nothing is padded.

`keys` names every position of a sequence, `images` embeds pictures once, `tree` finds what sequences share, `cache`
holds keys and values, `attention` reads them, `choices` lays candidates out as a tree, `writing` and `beam` decide what
is written, `decoding` writes it, `rows` are what all of these work on, and `engine` puts them in order.
"""
