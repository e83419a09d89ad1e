"""The ONNX file of a model: raw rows in, calibrated probabilities and the rank of the anomaly out, all in one graph.

Normalisation and temperature are folded into the layers; the rank is a line through the knots of `calibrate.ranks`. The batch
dimension is named.
"""

import network  # first: it says how many threads numpy may have
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

INPUT, PROBABILITIES, ANOMALY = "features", "probabilities", "anomaly"


class Builder:
    def __init__(self):
        self.nodes, self.values = [], []

    def value(self, name, array):
        self.values.append(numpy_helper.from_array(np.ascontiguousarray(array, dtype=np.float32), name))
        return name

    def node(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def dense(self, source, name, weight, bias, is_last=False):
        out = self.node("Gemm", [source, self.value(f"{name}_w", weight), self.value(f"{name}_b", bias)], f"{name}_z")
        return out if is_last else self.node("Relu", [out], f"{name}_h")

    def folded(self, classifier):
        """A network's layers for raw inputs."""
        weights = [one.astype(np.float64) for one in classifier.weights]
        biases = [one.astype(np.float64) for one in classifier.biases]
        biases[0] = biases[0] - (classifier.mean.astype(np.float64) / classifier.deviation) @ weights[0]
        weights[0] = weights[0] / classifier.deviation[:, None].astype(np.float64)
        return list(zip(weights, biases))


def build(classifier, temperature, autoencoder=None, ranks=None, name="model", logarithms=False):
    """`logarithms`: the networks see ln(1 + x) of what is above 0."""
    builder, source = Builder(), INPUT
    if logarithms:
        above = builder.node("Relu", [INPUT], "above")
        source = builder.node("Log", [builder.node("Add", [above, builder.value("one", [1.0])], "more")], "view")
    last = source
    layers = builder.folded(classifier)
    for number, (weight, bias) in enumerate(layers):
        is_last = number + 1 == len(layers)
        scale = temperature if is_last else 1.0
        below, last = last, builder.dense(last, f"class{number}", weight / scale, bias / scale, is_last)
    builder.node("Softmax", [last], PROBABILITIES, axis=1)
    outputs = [(PROBABILITIES, len(layers[-1][1]))]
    if isinstance(autoencoder, network.Layer):
        away = builder.dense(below, "away", autoencoder.weight, autoencoder.bias, True)
        ranked(builder, away, ranks)
        outputs.append((ANOMALY, 1))
    elif autoencoder is not None:
        (first, first_bias), (second, second_bias) = builder.folded(autoencoder)
        # Nodes cost more than their sums: a hidden unit that is always 1 carries the bias, and one product takes the row off.
        deviation, width = autoencoder.deviation.astype(np.float64), len(autoencoder.mean)
        scale = np.sqrt(width)
        hidden = builder.dense(source, "unusual0", np.pad(first, ((0, 0), (0, 1))), np.append(first_bias, 1.0))
        row = builder.node("Mul", [source, builder.value("inverse", 1 / deviation / scale)], "row")
        back = np.vstack([second, second_bias + autoencoder.mean / deviation]) / scale
        away = builder.node("Gemm", [hidden, builder.value("unusual1_w", back), row], "away", beta=-1.0)
        ranked(builder, away, ranks)
        outputs.append((ANOMALY, 1))
    graph = helper.make_graph(
        builder.nodes, name,
        [helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, ["batch", len(classifier.mean)])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", width]) for output, width in outputs],
        builder.values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
                              producer_name="shrike models/train.py")
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def ranked(builder, away, ranks):
    """The rank of the length of `away`."""
    error = builder.node("ReduceL2", [away], "error", axes=[1], keepdims=1)
    knots, slopes = steps(*ranks)
    risen = builder.dense(error, "rank0", np.ones((1, len(knots))), -knots)
    rank = builder.dense(risen, "rank1", slopes[:, None], [0.0], True)
    builder.node("Clip", [rank, builder.value("low", np.float32(0)), builder.value("high", np.float32(1))], ANOMALY)


def steps(errors, shares):
    """Knots, and how much the slope changes at each, of the line through (error, share)."""
    slopes = np.diff(shares) / np.diff(errors)
    return errors, np.append(np.diff(slopes, prepend=0.0), -slopes[-1])
