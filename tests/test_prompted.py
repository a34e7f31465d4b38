"""From candidates to masks: outlines, choices, tiles without seams, duplicates, auto mode."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from synthetic import PEAK, draw_field, ellipse

from cellsieve.promptable.everything import answer_everything
from cellsieve.promptable.interface import Answers
from cellsieve.promptable.outlines import choose_masks, stability, trace
from cellsieve.pseudo_labelling.duplicates import duplicates
from cellsieve.pseudo_labelling.mask_picture import mask_overlay
from cellsieve.pseudo_labelling.mask_table import mask_of
from cellsieve.pseudo_labelling.prompted import SAM_MASKS, answer_field
from cellsieve.pseudo_labelling.prompts import PROMPTS
from cellsieve.pseudo_labelling.run_length import encode
from cellsieve.tables import write_table


class Thresholder:
    """A second promptable model: what is brighter than half a nucleus around the point."""

    diameter, side, halo, name, prompts = 20.0, 128, 32, "thresholder", ("point", "box")

    def embed(self, picture):
        assert max(picture.shape) <= self.side
        return np.pad(picture, 32)

    def answer(self, embedding, prompts):
        origins = np.floor(prompts.points[:, 0, ::-1]).astype(int) - 32
        windows = [embedding[y + 32 : y + 96, x + 32 : x + 96] for y, x in origins]
        bright = 100 * (np.array(windows, np.float32)[:, None] - 0.45)
        everything = np.ones_like(bright)
        worth = np.tile(np.float32([0.9, 0.8]), (len(origins), 1))
        return Answers(np.concatenate([bright, everything], 1), worth, origins.astype(float), 1.0)


def candidates_of(labels, kept=True):
    """A row a label, as prompts.py would write it."""
    rows = []
    for number, box in enumerate(ndimage.find_objects(labels.astype(int)), 1):
        mask = labels[box] == number
        y, x = ndimage.center_of_mass(mask)
        row = dict.fromkeys(PROMPTS, 1)
        row |= {"candidate": number, "kept": kept, "reason": "", "area_px": mask.sum()}
        row |= {"top_px": box[0].start, "left_px": box[1].start, "mask": encode(mask)}
        row |= {"bottom_px": box[0].stop, "right_px": box[1].stop}
        row |= {"y_px": y + box[0].start, "x_px": x + box[1].start}
        rows.append(row)
    return pd.DataFrame(rows)


def iou(first, second):
    return np.count_nonzero(first & second) / np.count_nonzero(first | second)


def drawn(row, shape):
    canvas = np.zeros(shape, bool)
    canvas[row.top_px : row.bottom_px, row.left_px : row.right_px] = mask_of(row)
    return canvas


@pytest.fixture(scope="module")
def field():
    drawing = draw_field((420, 380), 32, 40, seed=3, touching=0, background=0)
    return drawing._replace(image=np.maximum(drawing.image, 0))


@pytest.fixture(scope="module")
def answered(field):
    return answer_field(field.image, candidates_of(field.labels), Thresholder(), 32.0, PEAK)


def test_each_candidate_gets_the_mask_of_its_nucleus(field, answered):
    assert list(answered.columns) == list(SAM_MASKS)
    assert list(answered["candidate"]) == list(range(1, field.labels.max() + 1))
    ious = [
        iou(drawn(row, field.labels.shape), field.labels == row.candidate)
        for row in answered.itertuples()
    ]
    assert np.median(ious) > 0.88
    assert (answered["area_px"] == [mask_of(row).sum() for row in answered.itertuples()]).all()
    assert (answered["predicted_iou"] == np.float32(0.9)).all()
    assert answered["stability"].between(0.5, 1).all()


@pytest.mark.parametrize("offset", [(0, 1), (17, 40), (63, 30)])
def test_masks_do_not_depend_on_the_tiles(field, answered, offset):
    table = candidates_of(field.labels)
    shifted = answer_field(field.image, table, Thresholder(), 32.0, PEAK, offset=offset)
    pd.testing.assert_frame_equal(shifted, answered)


def test_refused_candidates_are_not_asked_about(field):
    table = candidates_of(field.labels)
    table["kept"] = table["candidate"] % 3 == 0
    answered = answer_field(field.image, table, Thresholder(), 32.0, PEAK)
    assert list(answered["candidate"]) == list(table["candidate"][table["kept"]])


def test_nothing_in_the_picture_is_an_empty_mask_in_the_prompts_box(field):
    table = candidates_of(field.labels)
    answered = answer_field(np.zeros_like(field.image), table, _OnlyBright(), 32.0, PEAK)
    boxes = ["top_px", "left_px", "bottom_px", "right_px"]
    assert (answered["area_px"] == 0).all()
    assert (answered[boxes] == table[boxes]).all(axis=None)
    assert not any(mask_of(row).any() for row in answered.itertuples())
    assert answered["duplicate_of"].isna().all()


class _OnlyBright(Thresholder):
    def answer(self, embedding, prompts):
        found = super().answer(embedding, prompts)
        return found._replace(logits=found.logits[:, :1], predicted_iou=found.predicted_iou[:, :1])


def test_two_prompts_for_one_nucleus_are_duplicates(field):
    table = candidates_of(field.labels).head(5)
    again = table.assign(candidate=table["candidate"] + 100, y_px=table["y_px"] + 2)
    table = pd.concat([table, again], ignore_index=True)
    answered = answer_field(field.image, table, Thresholder(), 32.0, PEAK)
    assert answered["duplicate_of"].isna().tolist() == [True] * 5 + [False] * 5
    assert answered["duplicate_of"][5:].tolist() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("diameter", "intensity"), [(None, None), (32.0, None)])
def test_a_field_without_nuclei_has_no_masks(tmp_path, field, diameter, intensity):
    table = candidates_of(field.labels)
    empty = answer_field(field.image, table, Thresholder(), diameter, intensity)
    write_table(tmp_path / "masks.parquet", empty, SAM_MASKS)
    assert len(empty) == 0
    assert len(answer_everything(field.image, Thresholder(), diameter, intensity)) == 0


def test_a_far_away_point_is_no_point_to_the_model(field):
    table = candidates_of(field.labels).assign(negative_y_px=0.0, negative_x_px=0.0)
    seen = []

    class Listener(Thresholder):
        prompts = ("point", "box", "darkest")

        def answer(self, embedding, prompts):
            seen.append(prompts)
            return super().answer(embedding, prompts)

    answer_field(field.image, table, Listener(), 32.0, PEAK)
    assert (seen[0].point_labels == [1, 0]).all()  # the first picture begins at the corner
    assert (seen[-1].point_labels == [1, -1]).all()


def test_a_trace_is_as_fine_as_the_field():
    """Logits of a disc at a stride of 4 give its outline to about a tenth of a logit."""
    y, x = (np.mgrid[:24, :24] + 0.5) * 4
    logits = 20 - np.hypot(y - 50, x - 44)
    top, left, mask = trace(logits, (7.0, -3.0), 4, (200, 200), (57, 41))
    canvas = np.zeros((200, 200), bool)
    canvas[top : top + mask.shape[0], left : left + mask.shape[1]] = mask
    assert iou(canvas, ellipse((200, 200), (56.5, 40.5), (20, 20))) > 0.98


def test_a_trace_keeps_the_piece_that_holds_the_point_and_fills_holes():
    logits = np.full((30, 40), -1.0)
    logits[2:12, 3:33] = 1
    logits[5:8, 6:9] = -1
    logits[18:26, 20:28] = 1
    top, left, mask = trace(logits, (0, 0), 1, (30, 40), (20.5, 22.5))
    assert (top, left, mask.shape, mask.sum()) == (18, 20, (8, 8), 64)
    for point in [(15.5, 15.5), (-9.0, 99.0)]:  # in no piece: the largest
        top, left, mask = trace(logits, (0, 0), 1, (30, 40), point)
        assert (top, left, mask.shape, mask.sum()) == (2, 3, (10, 30), 300)


def test_a_trace_ends_where_the_field_does():
    top, left, mask = trace(np.ones((10, 10)), (-5.0, 15.0), 1, (30, 20), (0.5, 17.5))
    assert (top, left, mask.shape, mask.all()) == (0, 15, (5, 5), True)
    assert trace(-np.ones((10, 10)), (0.0, 0.0), 1, (30, 20), (5, 5))[2].size == 0
    assert trace(np.ones((10, 10)), (50.0, 0.0), 1, (30, 20), (5, 5))[2].size == 0


def test_stability_by_hand():
    logits = np.array([[2.0, 0.5, -0.5, -2.0]])
    assert stability(logits) == pytest.approx(1 / 3)
    assert stability(np.full((3, 4, 4), -5.0)).tolist() == [0, 0, 0]


def test_the_box_says_which_mask_is_meant():
    logits = np.full((1, 4, 20, 20), -1.0)
    logits[0, 0, 4:7, 4:7] = 1  # a part
    logits[0, 1, 4:12, 4:12] = 1  # the whole
    logits[0, 2] = 1  # the group
    worth = np.array([[0.8, 0.7, 0.9, 2.0]])  # the last is empty
    answers = Answers(logits, worth, np.array([[100.0, 50.0]]), 2.0)
    assert choose_masks(answers, None).tolist() == [2]
    assert choose_masks(answers, np.array([[58, 108, 74, 124]])).tolist() == [1]
    assert choose_masks(answers, np.array([[58, 108, 64, 114]])).tolist() == [0]


def test_duplicates_by_hand():
    boxes = [(0, 0, 10, 10), (0, 0, 10, 9), (0, 0, 10, 7), (50, 50, 60, 60), (0, 0, 10, 10)]
    masks = pd.DataFrame(boxes, columns=["top_px", "left_px", "bottom_px", "right_px"])
    masks["mask"] = [encode(np.ones((b[2] - b[0], b[3] - b[1]))) for b in boxes]
    masks["area_px"] = [100, 90, 70, 100, 100]
    masks["predicted_iou"] = [0.7, 0.9, 0.8, 0.5, 0.7]
    # 90 against 100 is 0.9, 70 against 90 is 0.78
    assert duplicates(masks, 0.8).tolist() == [1, -1, -1, -1, 1]
    assert duplicates(masks, 0.9).tolist() == [-1, -1, -1, -1, 0]
    assert duplicates(masks, 0.75).tolist() == [1, -1, 1, -1, 1]


def test_the_automatic_mode_finds_nuclei_once_and_whole(field):
    found = answer_everything(field.image, _OnlyBright(), 32.0, PEAK)
    assert list(found["candidate"]) == list(range(1, len(found) + 1))
    assert (found["stability"] >= 0.95).all()
    shape = field.labels.shape
    covered = [np.unique(field.labels[drawn(row, shape)]) for row in found.itertuples()]
    named = [n for numbers in covered for n in numbers if n]
    assert len(named) == len(set(named)) > 0


def test_the_overlay_shows_good_and_poor(field, answered):
    table = answered.assign(predicted_iou=np.linspace(0.3, 1, len(answered)))
    picture = mask_overlay(field.image, table).astype(int)
    assert (picture == [255, 40, 40]).all(-1).any()
    assert (picture == [60, 230, 90]).all(-1).any()
    assert mask_overlay(field.image, answered.head(0)).shape == (*field.image.shape, 3)
