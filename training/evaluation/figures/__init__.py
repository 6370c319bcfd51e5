"""The paper's figures of a model's predictions, each drawn from a predictions file by matplotlib (extra ``plot``)."""
