"""Probabilities that mean what they say, ranks of the anomaly, thresholds for a budget of false alerts, and how good all that is."""

import numpy as np

from dataset import FAMILIES
from network import softmax

HOUR = 3_600_000_000_000
# What a threshold is at least, and its distance (in logits) from the benign score that it is to exclude.
FLOOR, MARGIN = 0.5, 0.5
CEILING = 0.9999
# What the threshold of the rank is at least: what validation holds nearly nothing above.
RANK_FLOOR = 0.999
MARGIN_ERROR = 1.25
SHARES = [0.0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999]
BINS = 10


def temperature(logits, target, weight):
    """The factor that makes the weighted likelihood of validation rows best; golden section over its logarithm."""
    weight = weight / weight.sum()

    def loss(log_scale):
        p = softmax(logits / np.exp(log_scale))
        return -(weight * np.log(np.maximum(p[np.arange(len(p)), target], 1e-12))).sum()

    low, high, part = np.log(0.2), np.log(10.0), (np.sqrt(5) - 1) / 2
    for _ in range(40):
        a, b = high - part * (high - low), low + part * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return float(np.exp((low + high) / 2))


def ranks(errors):
    """Knots (error, share of these honest rows below it), rising strictly; 1 lies beyond all of them."""
    ordered = np.sort(errors)
    knots = [(float(np.quantile(ordered, share)), share) for share in SHARES]
    most = max(float(ordered[-1]), knots[-1][0] * 1.02)
    knots += [(most, max(1 - 1 / (len(ordered) + 1), SHARES[-1] + 1e-4)), (most * 1.5, 1.0)]
    kept = [knots[0]]
    for error, share in knots[1:]:
        if error > kept[-1][0] + 1e-3:
            kept.append((error, share))
    return np.array([one[0] for one in kept]), np.array([one[1] for one in kept])


def reported(probabilities):
    """(most probable attack, its probability) of each row."""
    best = probabilities[:, 1:].argmax(1) + 1
    return best, probabilities[np.arange(len(best)), best]


def by_flow(flows, scores):
    """(flow, its highest score, index of a row of it)."""
    order = np.lexsort((-scores, flows))
    first = np.ones(len(order), dtype=bool)
    first[1:] = flows[order][1:] != flows[order][:-1]
    return flows[order][first], scores[order][first], order[first]


def alert_edges(rows, scores, need):
    """Of each host's hour that has `need` flows: the threshold up to which it makes an alert, highest first."""
    _, best, index = by_flow(rows.flow * 1_000_003 + rows.time // HOUR, scores)
    place = rows.host[index] * 1_000_003 + rows.time[index] // HOUR
    order = np.lexsort((-best, place))
    place, best = place[order], best[order]
    number = np.arange(len(place)) - np.searchsorted(place, place)
    return np.sort(best[number == need - 1])[::-1]


def beyond(edge):
    """A threshold above `edge`, by the margin."""
    edge = np.clip(edge, 1e-6, 1 - 1e-6)
    logit = np.log(edge / (1 - edge)) + MARGIN
    return float(np.float32(np.clip(1 / (1 + np.exp(-logit)), FLOOR, CEILING)))


def thresholds(names, sets, need):
    """By family, the smallest threshold that keeps every set's budget. `sets`: (benign rows, probabilities, alerts allowed)."""
    out = {}
    for family in range(1, len(names)):
        edge = 0.0
        for rows, probabilities, allowed in sets:
            best, score = reported(probabilities)
            edges = alert_edges(rows, np.where(best == family, score, 0.0), need)
            if len(edges) > allowed:
                edge = max(edge, edges[int(allowed)])
        out[names[family]] = beyond(edge)
    return out


def anomaly_threshold(sets, need, knots):
    """The same for the rank; its margin is one of the error that the rank is of. `knots`: of `ranks`."""
    edge = RANK_FLOOR
    for rows, anomaly, allowed in sets:
        edges = alert_edges(rows, anomaly, need)
        if len(edges) > allowed:
            edge = max(edge, float(edges[int(allowed)]))
    errors, shares = knots
    rank = np.interp(np.interp(edge, shares, errors) * MARGIN_ERROR, errors, shares)
    return float(np.float32(rank))


def average_precision(scores, is_attack):
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(is_attack[order])
    precision = hits / np.arange(1, len(scores) + 1)
    return float((precision * is_attack[order]).sum() / max(is_attack.sum(), 1))


def reliability(confidence, is_right, weight):
    """[(mean confidence, share right, weight) of each bin] and the expected calibration error."""
    weight = weight / weight.sum()
    number = np.minimum((confidence * BINS).astype(int), BINS - 1)
    bins, error = [], 0.0
    for one in range(BINS):
        mine = number == one
        total = weight[mine].sum()
        if total > 0:
            said, was = (weight[mine] @ confidence[mine]) / total, (weight[mine] @ is_right[mine]) / total
            bins.append([float(said), float(was), float(total)])
            error += total * abs(said - was)
    return bins, float(error)


def deciles(values):
    """Nine edges."""
    return [float(np.float32(one)) for one in np.quantile(values, np.arange(1, 10) / 10)]


def fewest(names, by_need, rows, probabilities):
    """By family, how many flows an alert takes: that of the numbers in `by_need` (number: thresholds) whose alerts find the most
    attacks of these validation rows, the largest of them if several do."""
    best, score = reported(probabilities)
    out = {}
    for at, name in enumerate(names[1:], 1):
        mine = (rows.family == FAMILIES.index(name)) & (best == at)
        events = np.unique(rows.event[mine])
        found = {need: sum(most_of_a_host(rows, mine & (rows.event == event) & (score >= limits[name])) >= need for event in events)
                 for need, limits in by_need.items()}
        out[name] = max(found, key=lambda need: (found[need], need))
    return out


def judge(rows, probabilities, anomaly, names, found_at, unusual_at, need, needs=None):
    """Figures of rows that were not learnt from: by family (flows, attacks found, average precision against benign flows), and
    of benign hosts' alerts. A flow is reported where any of its rows is."""
    needs = {name: need for name in names[1:]} | (needs or {})
    best, score = reported(probabilities)
    limit = np.array([2.0] + [found_at[name] for name in names[1:]])[best]
    is_found = score >= limit
    is_unusual = anomaly >= unusual_at if anomaly is not None else np.zeros(len(rows), dtype=bool)
    attack_score = 1 - probabilities[:, 0]
    benign = rows.family == 0
    quiet = benign & ~rows.victim
    flow_score = by_flow(rows.flow * 64 + rows.family, attack_score)
    flow_family = rows.family[flow_score[2]]
    out = {"families": {}, "benign": {
        "flows": int((flow_family == 0).sum()), "rows": int(benign.sum()), "hosts": int(len(np.unique(rows.host[quiet]))),
        "rows_reported": int((is_found & quiet).sum()), "rows_unusual": int((is_unusual & quiet).sum()),
        "alerts": {name: int((alert_edges(rows.where(quiet), np.where(is_found & (best == at), 1.0, 0.0)[quiet],
                                               needs[name]) > 0.5).sum())
                   for at, name in enumerate(names) if at},
        "alerts_unusual": int((alert_edges(rows.where(quiet), is_unusual[quiet].astype(float), need) > 0.5).sum())}}
    for family in np.unique(rows.family[~benign]):
        mine = rows.family == family
        name = FAMILIES[family]
        at = names.index(name) if name in names else -1
        flows = lambda mask: len(np.unique(rows.flow[mine & mask]))
        events = {key: 0 for key in ("attacks", "found", "named", "found_one_flow", "found_or_unusual")}
        for event in np.unique(rows.event[mine]):
            own = mine & (rows.event == event)
            most = lambda mask: most_of_a_host(rows, own & mask)
            is_alert = any(most(is_found & (best == one)) >= needs[names[one]] for one in np.unique(best[own & is_found]))
            events["attacks"] += 1
            events["found"] += is_alert
            events["named"] += at > 0 and most(is_found & (best == at)) >= needs[name]
            events["found_one_flow"] += most(is_found) >= 1
            events["found_or_unusual"] += is_alert or most(is_unusual) >= need
        chosen = (flow_family == family) | (flow_family == 0)
        out["families"][name] = {
            "rows": int(mine.sum()), "flows": flows(mine), "flows_found": flows(is_found), "flows_named": flows(is_found & (best == at)),
            "flows_unusual": flows(is_unusual), **{key: int(value) for key, value in events.items()},
            "average_precision": round(average_precision(flow_score[1][chosen], flow_family[chosen] == family), 4)}
    return out


def most_of_a_host(rows, mask):
    """Most flows of one host among these rows."""
    if not mask.any():
        return 0
    pairs = np.unique(np.stack([rows.host[mask], rows.flow[mask]]), axis=1)
    return int(np.unique(pairs[0], return_counts=True)[1].max())
