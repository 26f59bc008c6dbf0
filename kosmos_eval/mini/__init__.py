"""The training recipe of kosmos-mini, the small checkpoint that is bundled with the harness.

`train` runs the stages named in one YAML file: `dense` teaches the vision tower and the resampler to read, with labels
for every patch and every image token, and `decode` teaches the decoder to transcribe, answer, describe and judge.
`export` writes the checkpoint folder. Everything is generated but the sentences, which the user points at.
"""
