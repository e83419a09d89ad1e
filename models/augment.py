"""What training sees besides the recorded rows: the same flows on another network, and rows that are no traffic at all."""

import numpy as np

# Times of a row are stretched by up to e to this, either way: a rhythm may tell, the lab's distances may not.
STRETCH = 2.3
# Shortest frame of Ethernet without its checksum: what a lab of virtual links does not pad.
SHORTEST_FRAME = 60
# Columns of a flow's row by what happens to them.
TIMES = ("duration", "gap_mean", "gap_deviation", "gap_max", "response", "talk_gap_mean", "talk_gap_deviation", "talk_gap_min",
         "talk_gap_max")


# What a responder over UDP says is longer or shorter elsewhere, by up to e to this: resolvers differ in padding, in records that they
# add and in names that they ask for in one go, and the lab has one.
LONGER = 0.6
ANSWERS = ("payload_in", "first_payload_in", "longest_in", "length_deviation_in", "talk_mean_in", "talk_first_in", "talk_deviation_in")


class Elsewhere:
    """Rows of flows as another network would have shown them: all times by one factor, answers over UDP longer or shorter, short frames
    padded or not."""

    def __init__(self, columns):
        at = {name: index for index, name in enumerate(columns)}
        self.times = [at[name] for name in TIMES]
        self.packets, self.bytes, self.payloads = ([at[f"{what}_out"], at[f"{what}_in"]]
                                                   for what in ("packets", "bytes", "payload"))
        self.share, self.balance = at["payload_share"], at["byte_balance"]
        self.udp, self.answers = at["udp"], [at[name] for name in ANSWERS]

    def __call__(self, rng, x):
        out = x.copy()
        stretch = rng.uniform(-STRETCH, STRETCH, (len(x), 1)) * (rng.random((len(x), 1)) < 0.8)
        times = out[:, self.times]
        out[:, self.times] = np.where(times > 0, np.maximum(times + stretch, 0), 0)
        longer = rng.uniform(-LONGER, LONGER, (len(x), 1)) * (rng.random((len(x), 1)) < 0.5) * (out[:, [self.udp]] > 0)
        answers = out[:, self.answers]
        before = np.expm1(out[:, self.payloads[1]])
        out[:, self.answers] = np.where(answers > 0, np.maximum(answers + longer, 0), 0)
        grown = np.expm1(out[:, self.payloads[1]]) - before
        out[:, self.bytes[1]] = np.log1p(np.maximum(np.expm1(out[:, self.bytes[1]]) + grown, 0))
        padded = rng.random(len(x)) < 0.5
        raw, frames = np.expm1(out[:, self.bytes]), np.expm1(out[:, self.packets])
        short = (raw < frames * SHORTEST_FRAME) & padded[:, None]
        raw = np.where(short, frames * SHORTEST_FRAME, raw)
        out[:, self.bytes] = np.log1p(raw)
        both = np.maximum(raw.sum(1), 1)
        changed = short.any(1) | (grown != 0)
        out[changed, self.share] = (np.expm1(out[:, self.payloads]).sum(1) / both)[changed].clip(0, 1)
        out[changed, self.balance] = ((raw[:, 0] - raw[:, 1]) / both)[changed]
        return out


class Longer:
    """Windows of more or less traffic: of a column that counts bytes or time, the logarithm moves by up to half."""

    def __init__(self, columns):
        self.moved = [index for index, name in enumerate(columns)
                      if name.startswith(("bytes", "payload_out", "payload_in", "payload_taken", "payload_given", "duration"))
                      and not name.endswith(("same", "regularity"))]

    def __call__(self, rng, x):
        out = x.copy()
        part = out[:, self.moved]
        out[:, self.moved] = np.where(part > 0, np.maximum(part + rng.uniform(-0.5, 0.5, (len(x), 1)), 0), 0)
        return out


def background(rng, x, share, deviation, numbers, count):
    """Rows that are no traffic: real ones with features replaced by those of other rows or by any number in range.

    `share` draws the rows, so that no kind of traffic makes up most of the values; columns that are not `numbers` stay what
    they can be. Rows that a replacement left as they were, give or take, are real traffic still and are not returned.
    """
    total = np.cumsum(share)
    draw = lambda: np.minimum(np.searchsorted(total, rng.random(count) * total[-1]), len(x) - 1)
    real = x[draw()]
    columns = np.stack([x[draw(), column] for column in range(x.shape[1])], axis=1)
    low, high = x.min(0), x.max(0)
    uniform = low + rng.random(real.shape, dtype=np.float32) * (high - low)
    strange = np.where((rng.random(real.shape) < 0.3) & numbers, uniform, columns)
    # From nearly real to all mixed up, so that the border is learnt close to the traffic and not in empty space only.
    made = np.where(rng.random(real.shape) < rng.uniform(0.2, 1.0, (count, 1)), strange, real)
    moved = (np.abs(made - real) > 0.5 * deviation).sum(1)
    return made[moved >= 4].astype(np.float32)


def shares(rows):
    """How often each row is drawn: half of a batch benign, half attacks, and of those every family alike and every attack in it
    alike up to a root, so that floods do not drown the quiet ones. Benign hosts alike up to a root."""
    share = np.zeros(len(rows))
    benign = rows.family == 0
    for mask, by in ((benign, rows.host), (~benign, rows.event)):
        if mask.any():
            _, index, count = np.unique(by[mask], return_inverse=True, return_counts=True)
            share[mask] = 1 / np.sqrt(count[index])
    # What a victim does is less worth knowing than what honest hosts do.
    share[rows.victim] *= 0.3
    for family in np.unique(rows.family):
        mine = rows.family == family
        share[mine] /= share[mine].sum() ** (1.0 if family == 0 else 0.6)
    if benign.any() and not benign.all():
        share[benign] *= 0.5 / share[benign].sum()
        share[~benign] *= 0.5 / share[~benign].sum()
    return share / share.sum()
