"""Tables that the README and the models' cards share."""


def transfer(found):
    """Lines of what models/transfer.py found: by source, and by family from the laboratory to others and back."""
    share = lambda one, key, of: f"{one[key]} of {one[of]}" if one and one[of] else "-"
    yield (f"From source to source, the model of flows alone ({found['what']}). A source is the laboratory or the repository that captures of "
           "others came from. *All but it*: every other source taught, of captures of attacks all flows, for they carry no label per flow; for the "
           "laboratory that is to learn from others alone. *Laboratory*: it taught alone. Attacks are captures (of the laboratory "
           "episodes of its test recordings), honest are captures (of the laboratory hosts). Trees tell attack from honest only.")
    yield ""
    yield "| source | attacks found: laboratory | all but it | trees, all but it | honest alarmed: laboratory | all but it | trees, all but it |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for source, one in found["sources"].items():
        runs = [one[name] for name in ("laboratory", "all_but_it", "trees")]
        cells = [share(each, *keys) for keys in (("found", "attacks"), ("alarmed", "honest")) for each in runs]
        yield "| " + " | ".join([source, *cells]) + " |"
    there, back = {}, {}
    for one in found["sources"].values():
        for family, counts in (one["laboratory"] or {"families": {}})["families"].items():
            there[family] = [a + b for a, b in zip(there.get(family, (0, 0, 0)), counts)]
        if not one["laboratory"]:
            back = one["all_but_it"]["families"]
    said = lambda counts: f"{counts[1]} of {counts[0]}" if counts else "-"
    yield ""
    yield "| family | laboratory to others, captures found | others to laboratory, episodes found |"
    yield "| --- | --- | --- |"
    for family in sorted({*there, *back}):
        yield f"| {family} | {said(there.get(family))} | {said(back.get(family))} |"


TRAINED, LEFT_OUT, LEAST = 0.98, 0.9, 30


def verdict(rate, episodes, goal):
    """A rate beside its goal; fewer than LEAST episodes claim nothing."""
    if rate is None or not episodes:
        return "-"
    return f"{rate:.3f} of {episodes}" + (": reached" if episodes >= LEAST and rate >= goal else "" if episodes >= LEAST else ", too few to claim")


def goals(run):
    """Lines that set each family's recall beside what was aimed at."""
    yield f"| family | found, each tool by a model that never saw it: goal {TRAINED:.2f} | under any name, by a model that never saw the family: goal {LEFT_OUT:.2f} |"
    yield "| --- | --- | --- |"
    for family, one in run["families"].items():
        never = run["without_family"].get(family, {})
        if one["episodes"]:
            cells = [family, verdict(one["recall"], one["episodes"], TRAINED), verdict(never.get("caught_by_any"), never.get("episodes"), LEFT_OUT)]
            yield "| " + " | ".join(cells) + " |"
