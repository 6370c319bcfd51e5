"""The graphs that a bundle carries, in the forms that engines take, and their ONNX files."""
