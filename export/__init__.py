"""From a trained model to a bundle: graphs, their ONNX files, the comparison with torch, the folder."""
