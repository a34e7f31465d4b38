"""The configuration: what is refused and how, by the library and by the real command."""

import copy
import json
import os

import pytest
import yaml
from checkout import ROOT

from cellsieve.anomaly.reference_files import MODEL
from cellsieve.errors import UserError
from cellsieve.planning.config import SCHEMA, as_flags, check_config
from cellsieve.planning.plan import Plan

DEFAULTS = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def merged(base, changes):
    """Return the defaults with changes over them, as Snakemake merges them."""
    result = copy.deepcopy(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        result[key] = merged(base[key], value) if nested else value
    return result


def keys(schema):
    """Return the keys of a schema with those of its sections."""
    return {
        name: keys(rule) if "properties" in rule else None
        for name, rule in schema["properties"].items()
    }


def test_config_file_has_every_key_of_the_schema():
    check_config(copy.deepcopy(DEFAULTS))
    for name, section in keys(yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))).items():
        assert name in DEFAULTS
        assert section is None or set(DEFAULTS[name]) == set(section)


def test_every_key_is_explained_and_closed():
    def closed(rule):
        assert rule["additionalProperties"] is False
        assert set(rule["required"]) == set(rule["properties"])
        for inner in rule["properties"].values():
            assert inner["description"]
            if "properties" in inner:
                closed(inner)

    closed(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


def test_every_number_of_the_defaults_may_arrive_as_text():
    """Of a section given on the command line all values are text."""

    def as_text(value):
        if isinstance(value, dict):
            return {key: as_text(inner) for key, inner in value.items()}
        return str(value) if isinstance(value, int | float) else value

    config = as_text(copy.deepcopy(DEFAULTS))
    # an index of a channel may be a name, too
    config["channels"] = DEFAULTS["channels"]
    check_config(config)
    assert config == DEFAULTS


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"foo": 1}, "unknown key 'foo'; allowed: .*, seed, "),
        ({1: 1}, "unknown key 1; allowed: .*, seed, "),
        ({"calls": {"qq": 1}}, "unknown key 'qq' in section calls; allowed: .*, q, "),
        ({"calls": 3}, "calls is 3; allowed: a section with the keys q, z, "),
        ({"calls": None}, "calls is None; allowed: a section with the keys q, z, "),
        ({"seed": "abc"}, "seed is 'abc'; allowed: a whole number from 0"),
        ({"seed": True}, "seed is True; allowed: a whole number from 0"),
        ({"seed": 1.5}, "seed is 1.5; allowed: a whole number from 0"),
        ({"gpus": -1}, "gpus is -1; allowed: a whole number from 0"),
        ({"calls": {"q": 1}}, "calls.q is 1; allowed: a number between 0 and 1"),
        ({"calls": {"q": "0,1"}}, "calls.q is '0,1'; allowed: a number between"),
        ({"calls": {"z": float("nan")}}, "calls.z is 'nan'; allowed: a number above 0"),
        ({"calls": {"z": "inf"}}, "calls.z is 'inf'; allowed: a number above 0"),
        ({"signals": {"radius_px": 0}}, "signals.radius_px is 0.*above 0 in pixels, or null"),
        ({"modality": "stain"}, "modality is 'stain'; allowed: fluorescence"),
        ({"results": 2024}, "results is 2024; allowed: the path of the folder"),
        ({"results": "a{b}"}, "results is 'a{b}'; allowed: .*without braces"),
    ],
)
def test_mistakes_say_key_value_and_what_is_allowed(changes, message):
    with pytest.raises(UserError, match=f"^configuration: {message}"):
        check_config(merged(DEFAULTS, changes))


@pytest.mark.parametrize(
    ("channels", "message"),
    [
        ("DAPI", "channels is 'DAPI'; allowed: a mapping of roles"),
        ({}, "channels is {}; allowed: a mapping of roles"),
        ({"aqua": 0}, "the key 'dapi' in section channels is missing"),
        ({"dapi": None}, "channels.dapi is None; allowed: .*literal name"),
        ({"dapi": -1}, "channels.dapi is -1; allowed: .*index from 0"),
        ({"dapi": "a/b"}, "channels.dapi is 'a/b'; allowed: "),
        ({"dapi": 0, "Big Name": 1}, "channels has the key 'Big Name'; allowed: .*small letters"),
        ({"dapi": 0, "cell": 1}, "channels.cell is the name of a column"),
        ({"dapi": 0, "x": 1, "x_state": 2}, "channels.x_state is the name of a column"),
        ({"dapi": 0, "red": 0}, "channels names '0' twice"),
        ({"dapi": 0, True: 1}, "channels has the key True; allowed: .*small letters"),
    ],
)
def test_channels_replace_the_default_ones_and_are_checked(channels, message):
    with pytest.raises(UserError, match=f"^configuration: {message}"):
        Plan(copy.deepcopy(DEFAULTS), channels)


def test_numbers_given_as_text_are_numbers():
    config = merged(DEFAULTS, {"seed": "7", "gpus": 1.0, "calls": {"q": "0.2", "z": "4"}})
    check_config(config)
    assert (config["seed"], config["gpus"], config["calls"]["q"]) == (7, 1, 0.2)
    assert as_flags(config["calls"])[:4] == ["--q", "0.2", "--z", "4.0"]
    assert as_flags({"gpus": config["gpus"]}) == ["--gpus", "1"]


def test_flags_leave_out_what_is_null():
    assert as_flags({"min_gain_probes": 2, "radius_px": None}) == ["--min-gain-probes", "2"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["foo=1"], "configuration: unknown key 'foo'"),
        (["calls={q: high}"], "configuration: calls.q is 'high'; allowed: a number between"),
        (["channels=DAPI"], "configuration: channels is 'DAPI'"),
        (["fields=nowhere.tsv"], "nowhere.tsv: No such file or directory"),
        (["results=config.yaml/out"], "results is 'config.yaml/out', but config.yaml is a file"),
        (["anomaly={surroundings: localised}"], "'localised', which only a network"),
        (["anomaly={weights: in}"], "anomaly.weights is 'in', which has no bank.parquet"),
    ],
)
def test_the_command_stops_before_any_job(checkout, options, message):
    done = checkout.run("--cores", 1, "--config", *options, check=False)
    assert done.returncode != 0
    assert message in done.stdout
    assert "Traceback" not in done.stdout
    assert not checkout.results.exists()


@pytest.mark.parametrize("kind", ["network", "windows"])
def test_a_frozen_model_has_what_its_record_names(tmp_path, kind):
    for file in MODEL:
        (tmp_path / file).write_text("{}")
    anomaly = {"anomaly": {"weights": str(tmp_path)}}
    config = merged(DEFAULTS, {"results": str(tmp_path / "results"), **anomaly})
    (tmp_path / "record.json").write_text(json.dumps({"format": 4, "sha256": {kind: "0"}}))
    with pytest.raises(UserError, match=f"anomaly.weights is .*, which has no {kind}"):
        Plan(config)


def test_a_frozen_model_of_another_format_is_refused(tmp_path):
    for file in MODEL:
        (tmp_path / file).write_text(json.dumps({"format": 3, "sha256": {}}))
    anomaly = {"anomaly": {"weights": str(tmp_path)}}
    config = merged(DEFAULTS, {"results": str(tmp_path / "results"), **anomaly})
    with pytest.raises(UserError, match="of format 3, but this cellsieve reads 4; learn it again"):
        Plan(config)


def test_a_frozen_model_of_another_modality_is_refused(tmp_path):
    for file in MODEL:
        record = {"format": 4, "sha256": {}, "modality": "stain"}
        (tmp_path / file).write_text(json.dumps(record))
    config = merged(DEFAULTS, {"results": str(tmp_path / "results")})
    config = merged(config, {"anomaly": {"weights": str(tmp_path)}})
    with pytest.raises(UserError, match="a reference model of stain, not fluorescence"):
        Plan(config)


def test_a_rule_that_no_nucleus_can_meet_is_warned_of(checkout):
    plan = Plan(merged(DEFAULTS, {"calls": {"min_gain_probes": 9}}))
    assert "no nucleus can be a CAC" in plan.warnings[-1]


def test_damaged_weights_that_ship_stop_the_command_in_one_line(checkout):
    weights = checkout.folder / "resources" / "outlier_exposure.safetensors"
    weights.write_bytes(weights.read_bytes() + b"0")
    done = checkout.run("--cores", 1, check=False)
    assert done.returncode != 0
    assert "error: outlier_exposure: " in done.stdout
    assert "is another file or damaged" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_no_permission_to_write(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="no permission to write in"):
        Plan(merged(DEFAULTS, {"results": str(tmp_path / "results")}))


def test_every_key_reaches_a_job_or_the_plan():
    """A key that nothing reads would be ignored without a word."""
    rules = "".join(path.read_text() for path in (ROOT / "workflow" / "rules").glob("*.smk"))
    readers = rules + (ROOT / "scripts" / "cellsieve" / "planning" / "plan.py").read_text()
    for name, section in DEFAULTS.items():
        if isinstance(section, dict) and name != "channels" and f'options("{name}")' not in rules:
            assert [key for key in section if f'"{key}"' not in readers] == []
