# SPDX-License-Identifier: Apache-2.0
import dataclasses
import typing
from pathlib import Path

import pytest
import yaml

from image_grounding.addresses import trim_base_url
from image_grounding.errors import SpecError
from image_grounding.resources import load_schema, spec_path
from image_grounding.spec import Spec, load_spec
from image_grounding.spec.capabilities import capabilities_of

SECRET = "sk-Sup3rSecret0123456789"
GIVEN = ("results_dir=out", "data.input_jsonl=in.jsonl")
OPENAI = ("vlm.backend=openai", "vlm.openai.base_url=http://h/v1", "vlm.openai.model_name=m")
SPECS = sorted(spec_path("image_grounding.yaml").parent.glob("*.yaml"))


@pytest.fixture
def write(tmp_path):
    def write_spec(text: str | bytes) -> Path:
        path = tmp_path / "spec.yaml"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write_spec


def own(**sections) -> str:
    """A spec with what it must have, and ``sections`` below image_grounding."""
    data = {"input_jsonl": "in.jsonl", **sections.pop("data", {})}
    return yaml.safe_dump({"results_dir": "out", "image_grounding": {"data": data, **sections}})


def problems(*overrides: str, path: Path | None = None) -> list[str]:
    with pytest.raises(SpecError) as caught:
        load_spec(path, overrides)
    assert SECRET not in str(caught.value)
    return str(caught.value).splitlines()


def keys_of(values, prefix: str = "") -> set[str]:
    return {
        name
        for key, value in values.items()
        for name in (
            keys_of(value, f"{prefix}{key}.")
            if isinstance(value, dict) and value
            else {f"{prefix}{key}"}
        )
    }


def schema_keys(schema, prefix: str = "", deprecated: bool = False) -> set[str]:
    return {
        name
        for key, sub in schema["properties"].items()
        if deprecated or not sub.get("deprecated")
        for name in (
            schema_keys(sub, f"{prefix}{key}.", deprecated)
            if "properties" in sub
            else {f"{prefix}{key}"}
        )
    }


# --- one list of keys


def test_defaults_have_exactly_the_schema_s_keys():
    defaults = yaml.safe_load(spec_path("image_grounding.yaml").read_text())
    assert keys_of(defaults) == schema_keys(load_schema("spec"))


def test_dataclasses_have_exactly_the_schema_s_keys():
    def fields_of(cls, prefix: str) -> set[str]:
        hints = typing.get_type_hints(cls)
        return {
            name
            for field in dataclasses.fields(cls)
            for name in (
                fields_of(hints[field.name], f"{prefix}{field.name}.")
                if dataclasses.is_dataclass(hints[field.name])
                else {f"{prefix}{field.name}"}
            )
        }

    prefix = "image_grounding."
    wanted = {key for key in schema_keys(load_schema("spec")) if key.startswith(prefix)}
    hints = typing.get_type_hints(Spec)
    given = {
        name
        for section in ("data", "workflow", "vlm", "inspection")
        for name in fields_of(hints[section], f"{prefix}{section}.")
    }
    assert given == wanted


@pytest.mark.parametrize("path", SPECS, ids=lambda path: path.name)
def test_every_spec_that_ships_loads(path, monkeypatch):
    for part in path.read_text().split("${oc.env:")[1:]:
        monkeypatch.setenv(part.partition("}")[0].partition(",")[0], "http://h/v1")
    spec = load_spec(path, [*GIVEN, *(OPENAI[1:] if path.name != "local.yaml" else ())])
    assert spec.results_dir == Path("out")
    assert spec.data.input_jsonl == "in.jsonl"


# --- defaults, files, overrides


def test_defaults():
    spec = load_spec(None, GIVEN)
    assert spec.results_dir == Path("out")
    assert dataclasses.asdict(spec.data) == {
        "input_jsonl": "in.jsonl",
        "image_root": "",
        "allow_outside_root": False,
        "allow_urls": False,
    }
    assert spec.workflow.steps == ["0", "1"]
    assert spec.workflow.max_workers == 4
    assert spec.workflow.force_reprocess is False
    assert spec.workflow.max_attempts == 5
    assert spec.workflow.requests_per_minute is None
    assert spec.workflow.tokens_per_minute is None
    assert spec.vlm.backend == "gemini"
    assert spec.vlm.model == spec.vlm.gemini.model == "gemini-3.5-flash-lite"
    assert spec.vlm.gemini.media_resolution == "MEDIA_RESOLUTION_HIGH"
    assert spec.vlm.gemini.temperature == 0.3
    assert spec.vlm.gemini.max_output_tokens == 8192
    assert spec.vlm.gemini.timeout == 120
    assert spec.vlm.gemini.thinking_level == "auto"
    assert spec.vlm.openai.temperature == 0.3
    assert spec.vlm.openai.max_tokens == 4096
    assert spec.vlm.openai.timeout == 60
    assert spec.vlm.coordinates == "auto"
    assert spec.vlm.structured_output == "auto"
    assert spec.vlm.image.max_pixels is None
    assert spec.vlm.image.step_0 is True
    assert spec.vlm.image.step_0_max_pixels is None
    assert spec.vlm.coordinates_trusted is False
    assert spec.workflow.reread is False
    assert spec.vlm.openai.extra_body == {}


def test_file_over_defaults_and_overrides_over_the_file(write):
    path = write(own(workflow={"max_workers": 7, "max_attempts": 2}, vlm={"coordinates": "auto"}))
    spec = load_spec(path, ["workflow.max_workers=9", "vlm.image.max_pixels=100000"])
    assert spec.results_dir == Path("out")
    assert (spec.workflow.max_workers, spec.workflow.max_attempts) == (9, 2)
    assert spec.vlm.image.max_pixels == 100_000
    assert spec.workflow.steps == ["0", "1"]


def test_runs_do_not_change_the_defaults_of_the_next(write):
    path = write(own(workflow={"max_workers": 7, "steps": ["0"]}))
    assert load_spec(path).workflow.max_workers == 7
    assert load_spec(None, GIVEN).workflow.max_workers == 4
    assert load_spec(None, GIVEN).workflow.steps == ["0", "1"]


@pytest.mark.parametrize(
    ("override", "section", "name", "value"),
    [
        ("workflow.max_workers=16", "workflow", "max_workers", 16),
        ("workflow.max_workers='16'", "workflow", "max_workers", 16),
        ("workflow.max_workers=16.0", "workflow", "max_workers", 16),
        ("workflow.max_workers=auto", "workflow", "max_workers", "auto"),
        ("workflow.force_reprocess=true", "workflow", "force_reprocess", True),
        ("workflow.force_reprocess='True'", "workflow", "force_reprocess", True),
        ('workflow.steps=["0"]', "workflow", "steps", ["0"]),
        ("workflow.steps=[0, 1]", "workflow", "steps", ["0", "1"]),
        ("workflow.steps=[1]", "workflow", "steps", ["1"]),
        ("workflow.requests_per_minute=7.5", "workflow", "requests_per_minute", 7.5),
        ("workflow.requests_per_minute=null", "workflow", "requests_per_minute", None),
        ("data.image_root=a b/c=d", "data", "image_root", "a b/c=d"),
        ("data.image_root=", "data", "image_root", ""),
        ("vlm.structured_output=false", "vlm", "structured_output", False),
        ("vlm.structured_output=auto", "vlm", "structured_output", "auto"),
        ("vlm.coordinates_trusted=true", "vlm", "coordinates_trusted", True),
        ("workflow.reread=true", "workflow", "reread", True),
        ("vlm.coordinates=pixel_sent", "vlm", "coordinates", "pixel_sent"),
    ],
)
def test_override(override, section, name, value):
    spec = load_spec(None, [*GIVEN, override])
    got = getattr(getattr(spec, section), name)
    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize("prefix", ["image_grounding.", "+", "++image_grounding."])
def test_prefix_of_an_override(prefix):
    given = ["workflow.max_workers=16", "data.image_root=a b/c=d", 'workflow.steps=["0"]']
    spec = load_spec(None, [*GIVEN, *(prefix + override for override in given)])
    assert (spec.workflow.max_workers, spec.data.image_root) == (16, "a b/c=d")
    assert spec.workflow.steps == ["0"]


def test_the_last_override_wins():
    spec = load_spec(None, [*GIVEN, "workflow.max_workers=2", "workflow.max_workers=3"])
    assert spec.workflow.max_workers == 3


def test_steps_as_numbers_in_the_file(write):
    assert load_spec(write(own(workflow={"steps": [0, 1]}))).workflow.steps == ["0", "1"]


@pytest.mark.parametrize("section", ["image_grounding", "workflow", "vlm", "openai"])
def test_empty_section_means_defaults(write, section):
    below = {
        "image_grounding": "image_grounding:\n",
        "workflow": "image_grounding:\n  workflow:\n    # max_workers: 8\n",
        "vlm": "image_grounding:\n  vlm:\n",
        "openai": "image_grounding:\n  vlm:\n    openai:\n",
    }[section]
    path = write(below)
    assert load_spec(path, GIVEN).redacted == load_spec(None, GIVEN).redacted
    spec = load_spec(path, [*GIVEN, "workflow.max_workers=9", *OPENAI])
    assert (spec.workflow.max_workers, spec.workflow.max_attempts) == (9, 5)
    assert spec.vlm.openai.max_tokens == 4096


@pytest.mark.parametrize("head", [b"\xef\xbb\xbf", b"# comment\r\n", b"---\n"])
def test_forms_of_a_file(write, head):
    assert load_spec(write(head + own().encode().replace(b"\n", b"\r\n"))).data.image_root == ""


def test_tao_spec_runs_unchanged(write):
    text = """
results_dir: /results
gpu_ids: [0]
num_gpus: 1
batch_size: 4
num_workers: 8
encryption_key: ???
model_name: grounding_dino
mal: {dataset: {train_ann_path: "???"}, checkpoint: "???"}
grounding_dino: {model: {backbone: swin_tiny_224_1k}, visualize: true}
wandb: {enable: false}
vllm_captioning: {model: x}
video_reasoning_annotation: {data: {input: "???"}}
image_referring_expression: null
autolabel_type: "image_grounding"
image_grounding:
  data:
    input_jsonl: /data/in.jsonl
    image_root: /data/images
  workflow:
    steps: ["0", "1"]
    max_workers: 4
    force_reprocess: False
    long_video_threshold_sec: 60
    long_video_sample_fps: 0.5
    long_video_max_frames: 128
  vlm:
    backend: "openai"
    gemini:
      api_key: ${oc.env:GOOGLE_API_KEY_NOT_SET}
      model: ???
      media_resolution: MEDIA_RESOLUTION_HIGH
      temperature: 0.3
      max_output_tokens: 8192
      timeout: 120
    openai:
      api_key: ""
      base_url: http://localhost:8000/v1/chat/completions
      model_name: Qwen/Qwen3-VL-8B-Instruct
      temperature: 0.7
      max_tokens: 4096
      timeout: 60
"""
    spec = load_spec(write(text))
    assert spec.results_dir == Path("/results")
    assert spec.data.image_root == "/data/images"
    assert spec.vlm.openai.base_url == "http://localhost:8000/v1"
    assert spec.vlm.model == "Qwen/Qwen3-VL-8B-Instruct"
    assert spec.vlm.openai.temperature == 0.7
    assert spec.vlm.gemini.model == "gemini-3.5-flash-lite"


# --- what is required


def test_everything_missing_is_named_at_once(write):
    names = ["image_grounding.data.input_jsonl", "results_dir"]
    expected = [f"{name} is required, in the spec (-e) or as key=value" for name in names]
    assert problems() == expected
    assert problems(path=write("autolabel_type: image_grounding\n")) == expected
    assert problems("results_dir=???", "data.input_jsonl=in.jsonl") == expected[1:]
    assert problems("results_dir=out") == expected[:1]


@pytest.mark.parametrize("value", ["", "''", "null"])
@pytest.mark.parametrize("name", ["results_dir", "data.input_jsonl"])
def test_empty_is_missing(name, value):
    full = name if name == "results_dir" else f"image_grounding.{name}"
    assert problems(*GIVEN, f"{name}={value}") == [f"{full} is required"]


def test_openai_needs_an_address_and_a_model():
    assert problems(*GIVEN, "vlm.backend=openai") == [
        "image_grounding.vlm.openai.base_url is required",
        "image_grounding.vlm.openai.model_name is required",
    ]
    assert load_spec(None, [*GIVEN, *OPENAI]).vlm.model == "m"
    assert load_spec(None, [*GIVEN, "vlm.backend=local"]).vlm.backend == "local"


# --- the environment


def test_environment(monkeypatch):
    monkeypatch.setenv("IG_KEY", SECRET)
    monkeypatch.setenv("IG_WORKERS", "12")
    monkeypatch.setenv("IG_FORCE", "true")
    monkeypatch.delenv("IG_GONE", raising=False)
    spec = load_spec(
        None,
        [
            *GIVEN,
            *OPENAI,
            "vlm.openai.api_key=${oc.env:IG_KEY}",
            "workflow.max_workers=${oc.env:IG_WORKERS}",
            "workflow.force_reprocess=${oc.env:IG_FORCE}",
            "vlm.openai.timeout=${oc.env:IG_GONE,7.5}",
            "data.image_root=${oc.env:IG_GONE,''}/images",
        ],
    )
    assert spec.vlm.openai.api_key == SECRET
    assert spec.workflow.max_workers == 12
    assert spec.workflow.force_reprocess is True
    assert spec.vlm.openai.timeout == 7.5
    assert spec.data.image_root == "/images"


@pytest.mark.parametrize(
    "key", ["vlm.openai.api_key", "vlm.backend", "data.image_root", "workflow.max_workers"]
)
def test_missing_variable_is_named(monkeypatch, key):
    monkeypatch.delenv("IG_GONE", raising=False)
    expected = [f"image_grounding.{key}: the environment variable IG_GONE is not set"]
    assert problems(*GIVEN, *OPENAI, f"{key}=${{oc.env:IG_GONE}}") == expected


@pytest.mark.parametrize(
    ("backend", "unused"), [("gemini", "openai"), ("openai", "gemini"), ("local", "gemini")]
)
def test_variables_of_a_backend_not_in_use_do_not_matter(write, monkeypatch, backend, unused):
    monkeypatch.delenv("IG_GONE", raising=False)
    vlm = {"backend": backend, unused: {"api_key": "${oc.env:IG_GONE}", "timeout": -1}}
    vlm.setdefault("openai", {}).update({"base_url": "http://h/v1", "model_name": "m"})
    assert load_spec(write(own(vlm=vlm))).vlm.backend == backend
    vlm = {**vlm, "backend": unused}
    text = "\n".join(problems(path=write(own(vlm=vlm))))
    assert "IG_GONE" in text


@pytest.mark.parametrize(
    "value", ["${IG_KEY}", "${oc.env:", "${env:IG_KEY}", "${oc.env:IG_KEY", "${}", "${a.b.c}"]
)
def test_interpolation_that_is_wrong_says_how_it_is_written(write, value):
    vlm = {"openai": {"api_key": value, "base_url": "http://h", "model_name": "m"}}
    text = "\n".join(problems(path=write(own(vlm={"backend": "openai", **vlm}))))
    assert "${oc.env:NAME}" in text


# --- unknown keys, wrong values


@pytest.mark.parametrize(
    ("override", "key", "nearest"),
    [
        ("workflow.max_worker=3", "workflow.max_worker", "workflow.max_workers"),
        ("workflow.step=[0]", "workflow.step", "workflow.steps"),
        ("data.input_json=x", "data.input_json", "data.input_jsonl"),
        ("max_workers=3", "max_workers", "workflow.max_workers"),
        ("vlm.max_workers=3", "vlm.max_workers", "workflow.max_workers"),
        ("vlm.gemini.model_name=x", "vlm.gemini.model_name", "vlm.gemini.model"),
        ("vlm.openai.model=x", "vlm.openai.model", "vlm.openai.model_name"),
        ("vlm.openai.max_output_tokens=9", "vlm.openai.max_output_tokens", "vlm.openai.max_tokens"),
        ("vlm.gemini.max_tokens=9", "vlm.gemini.max_tokens", "vlm.gemini.max_output_tokens"),
        ("vlm.openai.key=x", "vlm.openai.key", "vlm.openai.api_key"),
        ("data.input=x", "data.input", "data.input_jsonl"),
        ("vlm.max_pixels=9", "vlm.max_pixels", "vlm.image.max_pixels"),
        ("vlm.opanai.timeout=3", "vlm.opanai", "vlm.openai"),
        ("vlm.coordinate=auto", "vlm.coordinate", "vlm.coordinates"),
        ("vlm.image.max_pixel=9", "vlm.image.max_pixel", "vlm.image.max_pixels"),
    ],
)
def test_unknown_key_names_the_nearest(override, key, nearest):
    sentence = f"unknown key image_grounding.{key}; did you mean image_grounding.{nearest}?"
    assert problems(*GIVEN, override) == [sentence]


def test_unknown_keys_of_the_file_are_named_together(write):
    path = write("result_dir: x\n1: 2\nimage_grounding: {worflow: {}, vlm: {local: {x: 1}}}\n")
    named = problems("vlm.foo=1", path=path)
    keys = [sentence.split(";")[0] for sentence in named]
    assert keys == [
        "unknown key result_dir",
        "unknown key 1",
        "unknown key image_grounding.worflow",
        "unknown key image_grounding.vlm.local.x",
        "unknown key image_grounding.vlm.foo",
    ]
    assert named[0].endswith("did you mean results_dir?")


CONVENTIONS = "auto, norm1000_yxyx, norm1000_xyxy, pixel_resized, pixel_sent, norm1_xyxy"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("workflow.max_workers", "0", "must be at least 1 and at most 1024, not 0"),
        ("workflow.max_workers", "many", "must be auto or integer, not 'many'"),
        ("workflow.max_workers", "1.5", "must be auto or integer, not 1.5"),
        ("workflow.max_workers", "null", "must be auto or integer, not None"),
        ("workflow.max_attempts", "0", "must be at least 1 and at most 20, not 0"),
        ("workflow.max_attempts", "21", "must be at least 1 and at most 20, not 21"),
        ("workflow.max_attempts", "many", "must be integer, not 'many'"),
        ("workflow.max_attempts", "1.5", "must be integer, not 1.5"),
        ("workflow.max_attempts", "true", "must be integer, not True"),
        ("workflow.max_attempts", "null", "must be integer, not None"),
        ("workflow.force_reprocess", "1", "must be boolean, not 1"),
        ("workflow.force_reprocess", "maybe", "must be boolean, not 'maybe'"),
        ("workflow.steps", "[]", "must not be empty"),
        ("workflow.steps", "0", "must be array, not 0"),
        ("workflow.steps", "[0, 0]", "must not name anything twice, not ['0', '0']"),
        ("workflow.steps.0", "[2]", None),
        ("workflow.requests_per_minute", "0", "must be above 0, not 0"),
        ("workflow.requests_per_minute", ".inf", "must be number or null, not 'inf'"),
        ("workflow.tokens_per_minute", "-1", "must be above 0, not -1"),
        ("vlm.backend", "vllm", "must be one of gemini, openai, local, not 'vllm'"),
        ("vlm.coordinates", "pixels", f"must be one of {CONVENTIONS}, not 'pixels'"),
        ("vlm.structured_output", "maybe", "must be one of auto, True, False, not 'maybe'"),
        ("vlm.gemini.temperature", "2.1", "must be at least 0 and at most 2, not 2.1"),
        ("vlm.gemini.temperature", ".nan", "must be number or null, not 'nan'"),
        ("vlm.gemini.temperature", "'nan'", "must be number or null, not 'nan'"),
        ("vlm.gemini.timeout", "0", "must be above 0 and at most 3600, not 0"),
        ("vlm.gemini.model", "''", "is required"),
        ("vlm.gemini.model", "[a]", "must be string, not ['a']"),
        ("vlm.image.max_pixels", "10", "must be at least 784 and at most 100000000, not 10"),
        ("vlm.prices.input", "-0.1", "must be at least 0, not -0.1"),
        ("workflow", "5", None),
        ("vlm.image", "[5]", None),
        ("vlm.image.step_0", "maybe", "must be boolean, not 'maybe'"),
        ("vlm.image.step_0_max_pixels", "9", "must be at least 784 and at most 100000000, not 9"),
    ],
)
def test_wrong_value_says_what_is_allowed(key, value, message):
    found = problems(*GIVEN, f"{key}={value}")
    if message:
        assert found == [f"image_grounding.{key} {message}"]
    else:
        section = "workflow.steps" if key == "workflow.steps.0" else key
        assert len(found) == 1
        assert found[0].startswith(f"image_grounding.{section} must be ")
        assert "mapping" in found[0]


def test_wrong_step_is_named():
    assert problems(*GIVEN, "workflow.steps=[0, 2]") == [
        "image_grounding.workflow.steps.1 must be one of 0, 1, not '2'"
    ]


def test_what_backends_can_do():
    backends = load_schema("spec")["properties"]["image_grounding"]["properties"]["vlm"]
    capable = {name: capabilities_of(name) for name in backends["properties"]["backend"]["enum"]}
    alone = {name for name, capabilities in capable.items() if not capabilities.needs_endpoint}
    assert alone == {name for name in capable if capable[name].is_demonstration} == {"local"}
    assert capabilities_of("a backend of later") == capable["openai"]


def test_several_problems_at_once():
    found = problems(
        *GIVEN, "workflow.max_attempts=0", "vlm.coordinates=x", "vlm.gemini.temperature=9"
    )
    assert len(found) == 3
    for key in ("workflow.max_attempts", "vlm.coordinates", "vlm.gemini.temperature"):
        assert (
            sum(sentence.startswith(f"image_grounding.{key} must be ") for sentence in found) == 1
        )


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("image_grounding: 5", "image_grounding"),
        ("image_grounding: [vlm]", "image_grounding"),
        ("image_grounding: {vlm: [1]}", "image_grounding.vlm"),
        ("image_grounding: {workflow: fast}", "image_grounding.workflow"),
        ("image_grounding: {vlm: {gemini: 1}}", "image_grounding.vlm.gemini"),
        ("image_grounding: {vlm: '${oc.env:IG_GONE}'}", "image_grounding.vlm"),
    ],
)
def test_section_that_is_none(write, text, section):
    (sentence,) = problems(*GIVEN, path=write(text))
    names = load_schema("spec")
    for part in section.split("."):
        names = names["properties"][part]
    assert sentence == f"{section} must be a mapping of {', '.join(names['properties'])}"


def test_other_autolabel_type():
    (sentence,) = problems(*GIVEN, "autolabel_type=grounding_dino")
    assert sentence.startswith("autolabel_type must be image_grounding, not 'grounding_dino': ")


TAO_DEFAULT = """
gpu_ids: [0]
num_gpus: 1
batch_size: 4
num_workers: 8
autolabel_type: mal
mal: {dataset: {type: coco, crop_size: 512}, checkpoint: null, results_dir: null}
grounding_dino: {checkpoint: null, iteration_scheduler: [{conf_threshold: 0.5}]}
video_reasoning_annotation: {output_format: both, workflow: {steps: ["0", 1a]}}
image_referring_expression: {workflow: {steps: ["0", "1", "2", "3"]}}
results_dir: ""
image_grounding:
  vlm:
    backend: gemini
    gemini: {api_key: "", model: gemini-3.1-flash-lite-preview, temperature: 0.3}
    openai: {api_key: "", base_url: "", model_name: "", temperature: 0.7, max_tokens: 4096}
  workflow: {steps: ["0", "1"], max_workers: 4, long_video_threshold_sec: 60}
  data: {input_jsonl: "", image_root: ""}
"""


@pytest.mark.parametrize("more", ["", "a_section_of_a_later_tao: {a: b}\n"])
def test_a_default_spec_of_tao_says_what_to_set_and_nothing_odd(write, more):
    (sentence,) = problems(path=write(TAO_DEFAULT + more))
    assert sentence.endswith("; set autolabel_type=image_grounding")
    assert sentence.startswith("autolabel_type must be image_grounding, not 'mal'")


def test_a_default_spec_of_tao_runs_with_what_it_leaves_open(write):
    spec = load_spec(write(TAO_DEFAULT), ["autolabel_type=image_grounding", *GIVEN])
    assert spec.vlm.model == "gemini-3.1-flash-lite-preview"


def test_overrides_that_only_tao_knows_have_no_effect():
    theirs = ["gpu_ids=[0,1]", "gpu_ids[0]=1", "num_gpus=2", "mal.train.lr=0.1", "+wandb.enable=1"]
    spec = load_spec(None, [*GIVEN, *theirs])
    assert spec == load_spec(None, GIVEN)
    assert load_spec(None, [*GIVEN, "encryption_key=abc"]) == spec
    (note,) = load_spec(None, [*GIVEN, "hydra.run.dir=x", "++hydra.job.chdir=true"]).notes
    assert note == "hydra.* has no effect here: results_dir is the output folder"
    (sentence,) = problems(*GIVEN, "model_name=m")
    assert sentence.endswith("did you mean image_grounding.vlm.openai.model_name?")


@pytest.mark.parametrize("override", ["spec.yaml", "=5", "", "+=1", "--quiet"])
def test_override_without_a_key_or_value(override):
    (sentence,) = problems(*GIVEN, override)
    assert sentence.startswith("an override is key=value, not ")


@pytest.mark.parametrize(
    "override", ["workflow.steps=[0", "workflow.steps={0", "data.image_root='"]
)
def test_override_that_is_no_yaml(override):
    (sentence,) = problems(*GIVEN, override)
    assert sentence.startswith("cannot read the overrides: ")


# --- files that are none


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "must hold a YAML mapping"),
        (b"# nothing\n", "must hold a YAML mapping"),
        (b"- a\n- b\n", "must hold a YAML mapping"),
        (b"text\n", "must hold a YAML mapping"),
        (b"results_dir: caf\xe9\n", "is not UTF-8 text"),
        ("results_dir: x\n".encode("utf-16"), "is not UTF-8 text"),
        (b"results_dir: [a\n", "line 2: not valid YAML"),
        (b"a: 1\nb:\tc: d\n", "line 2: not valid YAML"),
        (b"results_dir: a\nresults_dir: b\n", "line 2: not valid YAML (found duplicate key"),
        (b"results_dir: \x01\n", "not valid YAML"),
        (b"results_dir: " + b"[" * 600, "not valid YAML (nested too deep)"),
        (b"? [a, b]\n: 1\n", "not valid YAML"),
        (b"results_dir: !!python/object:os.system x\n", "line 1: not valid YAML"),
        (b"results_dir: !!set {a, b}\n", "is not a supported primitive type"),
    ],
)
def test_file_that_is_no_spec(write, data, message):
    path = write(data)
    (sentence,) = problems(*GIVEN, path=path)
    assert str(path) in sentence
    assert message in sentence


def test_missing_file_and_folder(tmp_path):
    for path, reason in ((tmp_path / "gone.yaml", "No such file"), (tmp_path, "Is a directory")):
        (sentence,) = problems(*GIVEN, path=path)
        assert sentence.startswith(f"cannot read the spec {path}: {reason}")


# --- addresses


@pytest.mark.parametrize(
    ("url", "trimmed"),
    [
        ("http://h:8000/v1", "http://h:8000/v1"),
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("http://h:8000/v1/chat/completions", "http://h:8000/v1"),
        ("http://h:8000/v1/chat/completions/", "http://h:8000/v1"),
        ("  https://h/v1//  ", "https://h/v1"),
        ("http://h/chat/completions/v1", "http://h/chat/completions/v1"),
    ],
)
def test_base_url_is_trimmed(url, trimmed):
    assert trim_base_url(url) == trimmed
    assert trim_base_url(trimmed) == trimmed
    spec = load_spec(None, [*GIVEN, *OPENAI, f"vlm.openai.base_url={url}"])
    assert spec.vlm.openai.base_url == trimmed


@pytest.mark.parametrize("backend", ["openai", "gemini"])
@pytest.mark.parametrize(
    "url", ["localhost:8000/v1", "h", "/v1", "http://", "http://[::1", "ftp://h/v1", "http:/h/v1"]
)
def test_base_url_that_is_no_address(backend, url):
    key = f"vlm.{backend}.base_url"
    (sentence,) = problems(*GIVEN, *OPENAI, f"vlm.backend={backend}", f"{key}={url}")
    assert sentence == (
        f"image_grounding.{key} must be an address such as http://localhost:8000/v1"
    )


# --- secrets


def test_no_secret_in_the_spec_s_text_forms(write):
    for backend in ("openai", "gemini"):
        keys = {"api_key": SECRET, "base_url": f"https://user:{SECRET}@h:8/v1?token={SECRET}#x"}
        vlm = {"backend": backend, backend: keys}
        if backend == "openai":
            keys["model_name"] = "m"
        spec = load_spec(write(own(vlm=vlm)))
        assert getattr(spec.vlm, backend).api_key == SECRET
        assert SECRET in getattr(spec.vlm, backend).base_url
        assert SECRET not in repr(spec)
        assert SECRET not in str(spec.vlm)
        assert SECRET not in str(spec.redacted)
        redacted = spec.redacted["image_grounding"]["vlm"][backend]
        assert redacted["api_key"] == "(set)"
        assert redacted["base_url"] == "https://h:8/v1"


def test_redacted_spec_is_a_spec(write):
    spec = load_spec(write(own(workflow={"max_workers": 3})), OPENAI)
    again = {**spec.redacted}
    loaded = load_spec(write(yaml.safe_dump(again)))
    assert loaded == spec
    assert spec.redacted["image_grounding"]["vlm"]["openai"]["api_key"] == ""


@pytest.mark.parametrize(
    "override",
    [
        f"vlm.openai.api_key={SECRET}",
        f"image_grounding.vlm.openai.api_key={SECRET}",
        f"+vlm.gemini.api_key={SECRET}",
        f"vlm.openai.api_key='{SECRET}'",
        f"vlm.openai={{api_key: {SECRET}}}",
        f"vlm={{backend: openai, openai: {{api_key: {SECRET}}}}}",
        f"vlm.openai[api_key]={SECRET}",
        f"vlm.openai.api_key=[{SECRET}]",
        f"vlm.opanai.api_key={SECRET}",
        f"api_key={SECRET}",
        "vlm.openai.api_key=1234567890",
    ],
)
def test_key_on_the_command_line_is_refused(override):
    (sentence,) = problems(*GIVEN, *OPENAI, override)
    assert "a key on the command line can be read by every user" in sentence
    assert "='${oc.env:NAME}'" in sentence
    assert "1234567890" not in sentence


@pytest.mark.parametrize("value", ["", "''", "${oc.env:IG_KEY}"])
def test_key_on_the_command_line_that_is_none(monkeypatch, value):
    monkeypatch.setenv("IG_KEY", SECRET)
    spec = load_spec(None, [*GIVEN, *OPENAI, f"vlm.openai.api_key={value}"])
    assert spec.vlm.openai.api_key == (SECRET if "$" in value else "")


IN_FILE = {
    "open quote": f'openai:\n  api_key: "{SECRET}\n',
    "two colons": f"openai:\n  api_key: a: {SECRET}: b\n",
    "no space behind the colon": f"openai:\n  api_key:{SECRET}\n",
    "no space, other keys": f"openai:\n  api_key:{SECRET}\n  timeout: 5\n",
    "no space in braces": f"openai: {{api_key:{SECRET}}}\n",
    "equals sign": f"openai: {{api_key={SECRET}: }}\n",
    "alias": f"openai: {{api_key: *{SECRET}}}\n",
    "tag": f"openai: {{api_key: !{SECRET} x}}\n",
    "tab": f"openai:\n\tapi_key: {SECRET}\n",
    "list": f"openai: {{api_key: [{SECRET}]}}\n",
    "mapping": f"openai: {{api_key: {{a: {SECRET}}}}}\n",
    "key as a mapping's key": f"openai: {{api_key: {{{SECRET}: }}}}\n",
    "section": f"openai: {SECRET}\n",
    "list of sections": f"openai: [{{api_key: {SECRET}}}]\n",
    "as a name": f"openai: {{api_key: '${{{SECRET}}}'}}\n",
    "as a variable": f"openai: {{api_key: '${{oc.env:{SECRET}}}'}}\n",
    "as a resolver": f"openai: {{api_key: '${{{SECRET}:x}}'}}\n",
    "half an interpolation": f"openai: {{api_key: '{SECRET}${{oc.env:'}}\n",
    "braces": f"openai: {{api_key: '${{{SECRET}'}}\n",
    "password in a list": f"openai: {{base_url: ['http://user:{SECRET}@h/v1']}}\n",
    "password in a bad address": f"openai: {{base_url: 'http://u:{SECRET}@[h', model_name: m}}\n",
    "password without scheme": f"openai: {{base_url: 'user:{SECRET}@h/v1', model_name: m}}\n",
    "header without a space": f"openai:\n  extra_headers: {{'api-key:{SECRET}': }}\n",
    "header with a line break": f'openai: {{extra_headers: {{api-key: "{SECRET}\\nx"}}}}\n',
    "header as a list": f"openai: {{extra_headers: {{api-key: [{SECRET}]}}}}\n",
    "headers as a text": f"openai: {{extra_headers: 'api-key: {SECRET}'}}\n",
    "headers as texts": f"openai: {{extra_headers: ['api-key: {SECRET}']}}\n",
    "beside another problem": f"openai: {{api_key: {SECRET}, timeout: -1, model_nam: m}}\n",
    "beside a wrong value": f"openai: {{api_key: {SECRET}, timeout: -1, max_tokens: x}}\n",
}


@pytest.mark.parametrize("text", IN_FILE.values(), ids=IN_FILE)
def test_no_secret_of_the_file_in_an_error(write, text):
    lines = ["backend: openai", *text.splitlines()]
    body = "".join(f"    {line}\n" for line in lines)
    path = write(f"results_dir: out\nimage_grounding:\n  data: {{input_jsonl: i}}\n  vlm:\n{body}")
    assert problems(path=path)  # which looks for the secret in what is said


@pytest.mark.parametrize(
    "override",
    [
        f"vlm.openai.base_url=[http://user:{SECRET}@h",
        f"vlm.openai.base_url=http://user:{SECRET}@h/${{",
        f"vlm.openai.base_url=user:{SECRET}@h",
        f"vlm.openai={SECRET}",
        f"vlm.openai.api_key:{SECRET}",
        f"vlm.openai.api_key.x={SECRET}",
    ],
)
def test_no_secret_of_an_override_in_an_error(override):
    assert problems(*GIVEN, *OPENAI, override)


# --- what is passed on to the endpoint


@pytest.mark.parametrize(
    ("value", "meant"), [("auto", True), ("true", True), ("false", False), ("'False'", False)]
)
def test_auto_is_an_earlier_name_of_a_picture_in_step_0(value, meant):
    assert load_spec(None, [*GIVEN, f"vlm.image.step_0={value}"]).vlm.image.step_0 is meant


def test_extras(write, monkeypatch):
    monkeypatch.setenv("IG_KEY", SECRET)
    extras = {
        "extra_body": {"enable_thinking": False, "deep": {"list": [1, "${oc.env:IG_KEY}"]}},
        "extra_query": {"api-version": "2024-10-21", "beta": True, "n": 3, "k": "${oc.env:IG_KEY}"},
        "extra_headers": {"api-key": "${oc.env:IG_KEY}", "X-Title": "mine"},
    }
    vlm = {"backend": "openai", "openai": {"base_url": "http://h", "model_name": "m", **extras}}
    spec = load_spec(write(own(vlm=vlm)), ["vlm.openai.extra_body.top_k=5"])
    openai = spec.vlm.openai
    assert openai.extra_body == {
        "enable_thinking": False, "deep": {"list": [1, SECRET]}, "top_k": 5,
    }  # fmt: skip
    assert openai.extra_query == {
        "api-version": "2024-10-21",
        "beta": "true",
        "n": "3",
        "k": SECRET,
    }
    assert openai.extra_headers == {"api-key": SECRET, "X-Title": "mine"}
    assert openai.extra_secrets == (SECRET,) * 3
    assert SECRET not in repr(spec) + str(spec.redacted)
    shown = spec.redacted["image_grounding"]["vlm"]["openai"]
    assert shown["extra_body"] == {
        "enable_thinking": False, "deep": {"list": [1, "(set)"]}, "top_k": 5,
    }  # fmt: skip
    assert shown["extra_query"]["api-version"] == "2024-10-21"
    assert shown["extra_headers"] == {"api-key": "(set)", "X-Title": "(set)"}


def test_credential_in_the_file_is_a_secret_by_its_name(write):
    extras = {"extra_headers": {"X-Api-Key": SECRET}, "extra_query": {"subscription-key": SECRET}}
    vlm = {"backend": "openai", "openai": {"base_url": "http://h", "model_name": "m", **extras}}
    spec = load_spec(write(own(vlm=vlm)))
    assert spec.vlm.openai.extra_secrets == (SECRET, SECRET)
    assert SECRET not in repr(spec) + str(spec.redacted)


def test_query_of_an_address_is_passed_on():
    url = f"https://h/deployments/d/chat/completions?api-version=2024-10-21&code={SECRET}&a=b%20c"
    spec = load_spec(None, [*GIVEN, *OPENAI, f"vlm.openai.base_url={url}"])
    openai = spec.vlm.openai
    assert openai.base_url == "https://h/deployments/d"
    assert openai.extra_query == {"api-version": "2024-10-21", "code": SECRET, "a": "b c"}
    assert openai.extra_secrets == (SECRET,)
    assert SECRET not in str(spec.redacted)
    named = load_spec(
        None, [*GIVEN, *OPENAI, f"vlm.openai.base_url={url}", "vlm.openai.extra_query.a=x"]
    )
    assert named.vlm.openai.extra_query["a"] == "x"
    # Google's client keeps a query by itself.
    gateway = load_spec(None, [*GIVEN, "vlm.gemini.base_url=https://h?a=b"]).vlm.gemini.address
    assert gateway == "https://h?a=b"


def test_extras_need_no_variables_where_keys_need_none(monkeypatch):
    monkeypatch.delenv("IG_GONE", raising=False)
    header = "vlm.openai.extra_headers.api-key='${oc.env:IG_GONE}'"
    assert (
        load_spec(None, [*GIVEN, *OPENAI, header], without_keys=True).vlm.openai.model_name == "m"
    )
    (sentence,) = problems(*GIVEN, *OPENAI, header)
    assert "the environment variable IG_GONE is not set" in sentence


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("extra_body", "5", " must be a mapping"),
        ("extra_headers", "[a]", " must be a mapping"),
        ("extra_headers", "{a: 5}", ".a must be string"),
        (
            "extra_headers",
            "{a b: x}",
            " must be plain ASCII on one line, and a name there one word",
        ),
        ("extra_headers", '{a: "x\\ny"}', ".a must be plain ASCII on one line"),
        ("extra_headers", "{a: é}", ".a must be plain ASCII on one line"),
        ("extra_query", "{v: 1.5}", ".v must be string or integer or boolean"),
        ("extra_query", "{v: {a: b}}", ".v must be string or integer or boolean"),
        ("extra_body", "{messages: []}", " must not hold messages, which the pipeline sets itself"),
    ],
)
def test_extras_that_cannot_be_sent(name, value, message):
    (sentence,) = problems(*GIVEN, *OPENAI, f"vlm.openai.{name}={value}")
    assert sentence.startswith(f"image_grounding.vlm.openai.{name}{message}")


@pytest.mark.parametrize(
    "override",
    [
        f"extra_headers.api-key={SECRET}",
        f"extra_headers={{Authorization: 'Bearer {SECRET}'}}",
        f"extra_headers.X-API-Key={SECRET}",
        f"extra_headers.Ocp-Apim-Subscription-Key={SECRET}",
        f"extra_headers.cookie={SECRET}",
        f"extra_query.key={SECRET}",
        f"extra_body.options.api_key={SECRET}",
    ],
)
def test_credential_among_the_extras_of_the_command_line_is_refused(override, monkeypatch):
    (sentence,) = problems(*GIVEN, *OPENAI, f"vlm.openai.{override}")
    assert "a key on the command line can be read by every user" in sentence
    monkeypatch.setenv("IG_KEY", SECRET)
    spec = load_spec(
        None, [*GIVEN, *OPENAI, f"vlm.openai.{override.replace(SECRET, '${oc.env:IG_KEY}')}"]
    )
    assert SECRET in spec.vlm.openai.extra_secrets[0]


def test_extra_body_in_two_shapes(write):
    path = write(own(vlm={"openai": {"extra_body": {"a": [1]}}}))
    (sentence,) = problems(*OPENAI, "vlm.openai.extra_body.a.b=1", path=path)
    assert sentence.startswith("extra_body: a list in one place and a mapping")


# --- the ready specs


READY = {
    "gemini": ("gemini", "gemini-3.5-flash-lite", ""),
    "nim": ("openai", "m", "https://integrate.api.nvidia.com/v1"),
    "tao": ("openai", "m", "http://localhost:8080/v1"),
    "vllm": ("openai", "Qwen/Qwen3-VL-8B-Instruct", "http://localhost:8000/v1"),
    "custom": ("openai", "m", "http://h/v1"),
    "local": ("local", "nanodet_g_416", ""),
}


@pytest.mark.parametrize("name", READY)
def test_ready_spec_needs_only_what_it_marks(monkeypatch, name):
    for variable in ("NVIDIA_API_KEY", "VLLM_API_KEY", "VLM_API_KEY"):
        monkeypatch.delenv(variable, raising=False)
    path = spec_path(f"{name}.yaml")
    if name == "nim":
        (sentence,) = problems(*GIVEN, "vlm.openai.model_name=m", path=path)
        assert sentence.endswith("the environment variable NVIDIA_API_KEY is not set")
        monkeypatch.setenv("NVIDIA_API_KEY", SECRET)
    # Only what is left open with ???.
    marked = {"model_name": "m", "base_url": "http://h/v1"}
    fill = [f"vlm.openai.{k}={v}" for k, v in marked.items() if f"{k}: ???" in path.read_text()]
    spec = load_spec(path, [*GIVEN, *fill])
    assert (spec.vlm.backend, spec.vlm.model, spec.vlm.openai.base_url) == READY[name]
    # TAO's client wants a key where none is needed.
    keys = {"nim": SECRET, "tao": "EMPTY", "vllm": "EMPTY"}
    assert spec.vlm.openai.api_key == keys.get(name, "")
    assert spec.redacted["image_grounding"]["vlm"]["openai"]["api_key"] == (
        "(set)" if name == "nim" else keys.get(name, "")
    )
    assert spec.vlm.coordinates == "auto"
