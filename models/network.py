"""Small networks in numpy: a classifier with softmax, one that may only rise with some inputs, and autoencoders.

Seeded and on one thread, so that the same rows give the same bytes. After every epoch the state is written down; training that
was interrupted goes on from there.
"""

import json
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402

BATCH = 512
RATE = 3e-3
DECAY = 1e-4
# No border may lie within a hair of a value.
NOISE = 0.1


class Network:
    """ReLU layers over normalised inputs. `rising`: inputs of which the classes but the first may only become likelier."""

    def __init__(self, rng, sizes, mean, deviation, rising=()):
        self.mean, self.deviation, self.rising = mean.astype(np.float32), deviation.astype(np.float32), list(rising)
        self.weights = [rng.normal(0, np.sqrt(2 / a), (a, b)).astype(np.float32) for a, b in zip(sizes, sizes[1:])]
        self.biases = [np.zeros(b, dtype=np.float32) for b in sizes[1:]]
        if self.rising:
            for weight in self.weights[1:]:
                np.abs(weight, out=weight)
            self.weights[0][self.rising] = np.abs(self.weights[0][self.rising])
            self.weights[-1][:, 0] *= -1

    def hold(self):
        """What must only rise has no negative weight on its way, and the first class no positive one at its end."""
        if self.rising:
            self.weights[0][self.rising] = np.maximum(self.weights[0][self.rising], 0)
            for weight in self.weights[1:-1]:
                np.maximum(weight, 0, out=weight)
            last = self.weights[-1]
            last[:, 0], last[:, 1:] = np.minimum(last[:, 0], 0), np.maximum(last[:, 1:], 0)

    def normal(self, x):
        return ((x - self.mean) / self.deviation).astype(np.float32)

    def layers(self, normal):
        h = [normal]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1]):
            h.append(np.maximum(h[-1] @ weight + bias, 0))
        return h, h[-1] @ self.weights[-1] + self.biases[-1]

    def logits(self, x):
        return np.concatenate([self.layers(self.normal(part))[1] for part in np.array_split(x, len(x) // 8192 + 1)])

    def gradients(self, h, delta):
        out = []
        for layer in range(len(self.weights) - 1, -1, -1):
            out.append((h[layer].T @ delta, delta.sum(0)))
            if layer:
                delta = (delta @ self.weights[layer].T) * (h[layer] > 0)
        return out[::-1]


def softmax(logits):
    out = np.exp(logits - logits.max(1, keepdims=True))
    return out / out.sum(1, keepdims=True)


class Training:
    """Adam with a falling rate over a network; its state goes to `path` after each epoch."""

    def __init__(self, network, rng, steps, path, inputs):
        self.network, self.rng, self.steps, self.path, self.inputs = network, rng, steps, path, inputs
        self.step, self.epoch = 0, 0
        self.parameters = [*network.weights, *network.biases]
        self.moments = [[np.zeros_like(one), np.zeros_like(one)] for one in self.parameters]
        if path and os.path.exists(path):
            self.restore()

    def restore(self):
        with np.load(self.path, allow_pickle=False) as state:
            if str(state["inputs"]) != self.inputs:
                return
            self.step, self.epoch = int(state["step"]), int(state["epoch"])
            self.rng.bit_generator.state = json.loads(str(state["rng"]))
            for number, one in enumerate(self.parameters):
                one[...] = state[f"p{number}"]
                for at in (0, 1):
                    self.moments[number][at][...] = state[f"m{number}_{at}"]

    def keep(self):
        if not self.path:
            return
        state = {f"p{number}": one for number, one in enumerate(self.parameters)}
        state.update({f"m{number}_{at}": self.moments[number][at] for number in range(len(self.parameters)) for at in (0, 1)})
        os.makedirs(os.path.dirname(self.path), exist_ok=True)
        with open(f"{self.path}.part", "wb") as out:
            np.savez(out, inputs=self.inputs, step=self.step, epoch=self.epoch, rng=json.dumps(self.rng.bit_generator.state), **state)
        os.replace(f"{self.path}.part", self.path)

    def descend(self, gradients):
        self.step += 1
        rate = RATE * 0.5 * (1 + np.cos(np.pi * self.step / self.steps))
        for number, one in enumerate(self.parameters):
            layers = len(self.network.weights)
            gradient = gradients[number % layers][number // layers]
            if number < layers:
                gradient = gradient + DECAY * one
            first, second = self.moments[number]
            first += 0.1 * (gradient - first)
            second += 0.001 * (gradient * gradient - second)
            one -= np.float32(rate) * (first / np.float32(1 - 0.9**self.step)) / (
                np.sqrt(second / np.float32(1 - 0.999**self.step)) + np.float32(1e-8))
        self.network.hold()


def drawer(rng, share):
    total = np.cumsum(share)
    return lambda count: np.minimum(np.searchsorted(total, rng.random(count) * total[-1]), len(share) - 1)


def classify(x, target, share, classes, hidden, seed, epochs, batches, augment=None, strange=None, rising=(), path=None,
             inputs="", step=lambda *_, **__: None):
    """A trained classifier. `share` draws rows; `augment(rng, x)` changes them; `strange(rng, deviation, count)` gives rows that
    are to be class 0."""
    rng = np.random.default_rng(seed)
    mean = share @ x
    deviation = np.maximum(np.sqrt(share @ (x - mean) ** 2), 0.05)
    network = Network(rng, (x.shape[1], *hidden, classes), mean, deviation, rising)
    training = Training(network, rng, epochs * batches, path, inputs)
    step(count=training.epoch)
    draw = drawer(rng, share)
    one_hot = np.eye(classes, dtype=np.float32)
    while training.epoch < epochs:
        made = strange(rng, network.deviation, batches * BATCH // 4) if strange else x[:0]
        made = made[: len(made) // batches * batches].reshape(batches, -1, x.shape[1])
        loss = 0.0
        for number in range(batches):
            chosen = draw(BATCH)
            real = x[chosen] if augment is None else augment(rng, x[chosen])
            normal = network.normal(np.concatenate([real, made[number]]))
            normal += rng.standard_normal(normal.shape, dtype=np.float32) * np.float32(NOISE)
            wanted = one_hot[np.concatenate([target[chosen], np.zeros(len(made[number]), dtype=np.int64)])]
            h, logits = network.layers(normal)
            p = softmax(logits)
            loss -= np.log(np.maximum((p * wanted).sum(1), 1e-9)).mean() / batches
            training.descend(network.gradients(h, (p - wanted) / np.float32(len(normal))))
        training.epoch += 1
        training.keep()
        step(f"loss {loss:.4f}")
    return network


def autoencode(x, share, width, seed, epochs, batches, augment=None, path=None, inputs="", step=lambda *_, **__: None):
    """A network that gives its normalised input back through `width` units; what it gives back badly is unlike `x`."""
    rng = np.random.default_rng(seed)
    mean = share @ x
    network = Network(rng, (x.shape[1], width, x.shape[1]), mean, np.maximum(np.sqrt(share @ (x - mean) ** 2), 0.05))
    training = Training(network, rng, epochs * batches, path, inputs)
    step(count=training.epoch)
    draw = drawer(rng, share)
    while training.epoch < epochs:
        loss = 0.0
        for _ in range(batches):
            chosen = x[draw(BATCH)]
            normal = network.normal(chosen if augment is None else augment(rng, chosen))
            h, back = network.layers(normal)
            away = back - normal
            loss += float((away**2).mean()) / batches
            # One row far off must not drive the others' fit.
            slope = away / np.maximum(np.sqrt((away**2).mean(1, keepdims=True)), 1)
            training.descend(network.gradients(h, slope * np.float32(2 / len(normal))))
        training.epoch += 1
        training.keep()
        step(f"loss {loss:.4f}")
    return network


class Layer:
    """A linear autoencoder of a classifier's last hidden layer, in closed form: it gives back the directions in which `x` differs
    most and keeps the others, each in deviations of its own. It costs one product of what is computed anyway."""

    # Of a direction's variance, in shares of the mean one: what hardly ever moves is not to be all that counts.
    FLOOR = 0.01

    def __init__(self, classifier, x, share, width):
        self.classifier = classifier
        hidden = self.hidden(x).astype(np.float64)
        mean = share @ hidden
        values, vectors = np.linalg.eigh((hidden - mean).T @ ((hidden - mean) * share[:, None]))
        kept = slice(0, len(values) - width)
        scale = np.sqrt(values[kept] + self.FLOOR * values.mean()) * np.sqrt(len(values) - width)
        # A direction's sign is any: the largest part is above 0, so that the same rows give the same bytes.
        vectors = vectors[:, kept] * np.sign(vectors[np.abs(vectors[:, kept]).argmax(0), np.arange(len(values) - width)])
        self.weight = (vectors / scale).astype(np.float32)
        self.bias = (-mean @ (vectors / scale)).astype(np.float32)

    def hidden(self, x):
        return np.concatenate([self.classifier.layers(self.classifier.normal(part))[0][-1] for part in np.array_split(x, len(x) // 8192 + 1)])

    def errors(self, x):
        return np.sqrt(((self.hidden(x) @ self.weight + self.bias) ** 2).sum(1))


def errors(network, x):
    """Root of the mean square of what is given back badly, in deviations, of each row."""
    if isinstance(network, Layer):
        return network.errors(x)
    out = []
    for part in np.array_split(x, len(x) // 8192 + 1):
        normal = network.normal(part)
        out.append(np.sqrt(((network.layers(normal)[1] - normal) ** 2).mean(1)))
    return np.concatenate(out)
