"""What is promised of p and q, measured on simulated normal slides (run with -m research)."""

import numpy as np
import pandas as pd
import pytest
import zarr
from scipy import ndimage

from cellsieve.anomaly.describing import describe_field
from cellsieve.anomaly.nucleus_features import CAUSES
from cellsieve.anomaly.reference import (
    Bank,
    conformal_p,
    feature_columns,
    prepare_bank,
    split_reference,
)
from cellsieve.anomaly.reference_nuclei import Scale
from cellsieve.anomaly.reference_shift import scale_shift, stain_shift
from cellsieve.anomaly.signs import fit_signs
from cellsieve.calling.anomaly_calls import Limits, call_anomalies
from cellsieve.measurement import measure_nuclei
from cellsieve.preprocessing import preprocess
from cellsieve.simulation.render import render
from cellsieve.simulation.scene import Field
from cellsieve.simulation.slide import draw_slide
from cellsieve.wholeness import judge_wholeness

SLIDES, DRAWS = 40, 300
SIDE, NUCLEI = 1024, 130
DIAMETER = 13.7 / 0.325
LEVELS = (0.01, 0.05, 0.1)
Q = Limits("conformal", 0.1, 5.0)


def describe(counts, labels, slide):
    """Whole nuclei of a field, as the reference and the score see them, and its diameter."""
    store = zarr.open_group(zarr.storage.MemoryStore(), mode="w")
    quality = {"pixel_size_um": None, **preprocess(counts, store)}
    dapi = store["dapi"][:]
    table = describe_field(dapi, labels, slide, quality, Scale(DIAMETER, None))
    whole = judge_wholeness(measure_nuclei(dapi, labels, None)).whole
    return table.assign(slide=slide, diameter=quality["diameter_px"])[whole]


def blurred(counts, labels):
    return ndimage.gaussian_filter(counts, 0.2 * DIAMETER), labels


def saturated(counts, labels):
    return np.minimum(counts, np.quantile(counts[labels > 0], 0.5).astype(np.uint16)), labels


def magnified(counts, labels):
    half = np.s_[: SIDE // 2, : SIDE // 2]
    return tuple(plane[half].repeat(2, 0).repeat(2, 1) for plane in (counts, labels))


@pytest.fixture(scope="module")
def slides():
    """One field of each of many normal slides, and changed pictures of some."""
    found, changed = {}, []
    for seed in range(SLIDES):
        field = Field(SIDE, SIDE, nuclei=NUCLEI, abnormal=0.0, seed=500 + seed)
        image, labels, _ = render(field, draw_slide(900 + seed))
        name = f"s{seed}"
        found[name] = describe(image[0], labels, name)
        if seed % 4 == 0:
            for change in (blurred, saturated, magnified):
                table = describe(*change(image[0], labels), name)
                changed.append((change.__name__, table))
    return found, changed


def draws(found, count, random):
    """Yield a bank, its reference and four other slides, many times."""
    names = sorted(found)
    for seed in range(DRAWS):
        chosen = random.permutation(names)
        reference = pd.concat([found[name] for name in chosen[:count]], ignore_index=True)
        split = split_reference(reference, seed)
        learned = reference[split.in_bank]
        bank = Bank(
            prepare_bank(learned)[0], fit_signs(learned[feature_columns(learned, "f_")], CAUSES)
        )
        calibration = bank.score(reference[~split.in_bank]).score
        yield bank, calibration, reference, [found[name] for name in chosen[count : count + 4]]


@pytest.mark.research
@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_no_more_false_alarms_than_promised(slides, count):
    """Of normal slides: mean rate at each level, and the share of slides with any call."""
    rates, called, dynamic = [], [], []
    for bank, calibration, _, others in draws(slides[0], count, np.random.default_rng(count)):
        for table in others:
            score = bank.score(table).score
            p = conformal_p(score, calibration)
            nuclei = pd.DataFrame({"anomaly_score": score, "anomaly_p": p})
            everything = np.ones(len(p), bool)
            rates.append([(p <= level).mean() for level in LEVELS])
            by_q = call_anomalies(nuclei, everything, Q)
            called.append((by_q.call == "suspicious").any())
            by_score = call_anomalies(nuclei, everything, Q._replace(threshold="dynamic"))
            dynamic.append((by_score.call == "suspicious").sum())
    rates, called = np.array(rates), np.array(called, float)
    print(f"\n{count} reference slides, {len(called)} normal slides scored")
    for level, column in zip(LEVELS, rates.T, strict=True):
        error = column.reshape(DRAWS, -1).mean(1).std() / np.sqrt(DRAWS)
        highest = np.quantile(column, 0.95)
        print(
            f"p <= {level}: {column.mean():.4f} +- {error:.4f}, one slide in 20 over {highest:.3f}"
        )
        assert column.mean() <= level + 3 * error
    error = called.reshape(DRAWS, -1).mean(1).std() / np.sqrt(DRAWS)
    print(f"slides with a call at q 0.1: {called.mean():.4f} +- {error:.4f}")
    print(f"calls a slide by the dynamic threshold: {np.mean(dynamic):.2f}")
    assert called.mean() <= Q.q + 3 * error


@pytest.mark.research
@pytest.mark.parametrize("count", [2, 4, 8])
def test_normal_slides_are_like_the_reference_and_changed_ones_are_not(slides, count):
    found, changed = slides
    normal, others = [], {}
    for _, _, reference, tables in draws(found, count, np.random.default_rng(count)):
        normal += [bool(unlike(table, reference)) for table in tables]
        for name, table in changed:
            others.setdefault(name, []).append(bool(unlike(table, reference)))
    shares = {name: np.mean(withheld) for name, withheld in others.items()}
    told = ", ".join(f"{name} {share:.3f}" for name, share in shares.items())
    print(f"\n{count} reference slides, without p: normal {np.mean(normal):.4f}, {told}")
    assert np.mean(normal) < 0.01
    assert min(shares.values()) > 0.95


def unlike(table, reference):
    ratio = table["diameter"].iloc[0] / reference["diameter"].median()
    return scale_shift(ratio) + stain_shift(table, reference)


@pytest.mark.research
def test_what_it_costs_when_slides_differ():
    """Scores of slides that differ by a part of what nuclei of one slide do: no promise holds."""
    random = np.random.default_rng(0)
    for spread in (0.0, 0.25, 0.5, 1.0):
        rates = []
        for count in (1, 2, 4, 8, 32):
            draw = [random.normal(spread * random.normal(size=(count + 1, 1)), 1, (count + 1, 400))
                    for _ in range(1000)]  # fmt: skip
            rates.append(np.mean([(conformal_p(s[0], s[1:].ravel()) <= 0.01).mean() for s in draw]))
        print(f"\nslides differ by {spread} SD: " + " ".join(f"{rate:.4f}" for rate in rates))
        assert (np.diff(rates) < 0.002).all()
        assert rates[-1] < 0.015
        if spread == 0:
            assert max(rates) < 0.0105
