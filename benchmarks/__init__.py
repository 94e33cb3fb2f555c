"""What a new user is shown, and what the node's figures are measured with; each is run as `python -m benchmarks.NAME`.

`demo` needs the base install alone. `end_to_end` and `ingest` measure from outside, as a modality and a PACS see the
node: `wire` is the DICOM that they speak, `node` the process under test, `pacs` where results come back, `studies`
what is sent, `model` a network of real size with random weights, `limit` what the engine alone does with it.
"""
