"""The networks of docs/method.md 2, one a file, built from plain arguments.

Shape letters: ``B`` clips, ``T`` frames of a clip, ``S`` side of a frame in pixels, ``D`` width of the joined backbone
features, ``E`` width of the shared embedding, ``N`` anything counted one by one.
"""
