# SPDX-License-Identifier: Apache-2.0
"""Model names as providers write them, and what is known of the family behind each."""

import itertools

import pytest

from image_grounding.asking.transport import transport_for
from image_grounding.boxes.frames import CONVENTIONS, PIXEL_CONVENTIONS, Frame, fit_size
from image_grounding.families.families import UNKNOWN, family_of
from image_grounding.spec import load_spec

GEMINI = ("norm1000_yxyx", "box_2d", 1)
NORM1000 = ("norm1000_xyxy", "bbox_2d", 1)
QWEN2 = ("norm1000_xyxy", "bbox_2d", 28)
QWEN25 = ("pixel_resized", "bbox_2d", 28)
QWEN3 = ("norm1000_xyxy", "bbox_2d", 32)

# Model name, family, (convention, box key, multiple that sides are sent in).
KNOWN = [
    ("gemini-3.5-flash-lite", "Gemini", GEMINI),
    ("gemini-3.1-flash-lite-preview", "Gemini", GEMINI),
    ("gemini-2.5-pro", "Gemini", GEMINI),
    ("models/gemini-3.8-flash", "Gemini", GEMINI),
    ("google/gemini-2.0-flash-001", "Gemini", GEMINI),
    ("google/gemma-3-27b-it", "Gemma", GEMINI),
    ("gemma3:12b", "Gemma", GEMINI),
    ("google/gemma-4-31B-it", "Gemma", GEMINI),
    ("Qwen/Qwen2-VL-7B-Instruct", "Qwen2-VL", QWEN2),
    ("qwen2-vl-72b-instruct", "Qwen2-VL", QWEN2),
    ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen2.5-VL", QWEN25),
    ("Qwen2_5-VL-72B-Instruct-AWQ", "Qwen2.5-VL", QWEN25),
    ("qwen2.5vl:7b", "Qwen2.5-VL", QWEN25),
    ("Qwen/Qwen2.5-Omni-7B", "Qwen2.5-VL", QWEN25),
    ("XiaomiMiMo/MiMo-VL-7B-RL", "Qwen2.5-VL", QWEN25),
    ("nvidia/Cosmos-Reason1-7B", "Qwen2.5-VL", QWEN25),
    ("nvidia/cosmos-reason1-7b", "Qwen2.5-VL", QWEN25),
    ("nvidia/Cosmos-Reason2-8B", "Qwen3-VL and later", QWEN3),
    ("nvidia/cosmos-reason2-2b", "Qwen3-VL and later", QWEN3),
    ("Qwen/Qwen3-VL-8B-Instruct", "Qwen3-VL and later", QWEN3),
    ("Qwen3-VL-235B-A22B-Thinking-FP8", "Qwen3-VL and later", QWEN3),
    ("qwen3vl-2b-q4_k_m.gguf", "Qwen3-VL and later", QWEN3),
    ("Qwen/Qwen3-Omni-30B-A3B-Instruct", "Qwen3-VL and later", QWEN3),
    ("Qwen/Qwen3.5-397B-A17B", "Qwen3-VL and later", QWEN3),
    ("qwen3.8-flash-next", "Qwen3-VL and later", QWEN3),
    ("OpenGVLab/InternVL2-8B", "InternVL", NORM1000),
    ("OpenGVLab/InternVL3-78B", "InternVL", NORM1000),
    ("OpenGVLab/InternVL3_5-241B-A28B", "InternVL", NORM1000),
    ("internvl3.5-38b", "InternVL", NORM1000),
    ("zai-org/GLM-4.1V-9B-Thinking", "GLM-V", NORM1000),
    ("zai-org/GLM-4.5V", "GLM-V", NORM1000),
    ("glm-4.6v-flash", "GLM-V", NORM1000),
    ("accounts/fireworks/models/glm-4p5v", "GLM-V", NORM1000),
    ("glm-5v-turbo", "GLM-V", NORM1000),
    ("deepseek-ai/deepseek-vl2-small", "DeepSeek-VL2", NORM1000),
    ("openbmb/MiniCPM-V-4_5", "MiniCPM-V", NORM1000),
    ("openbmb/MiniCPM-o-2_6", "MiniCPM-V", NORM1000),
    ("baidu/ERNIE-4.5-VL-28B-A3B-Thinking", "ERNIE-VL", NORM1000),
    ("doubao-1-5-thinking-vision-pro-250428", "Seed-VL", NORM1000),
    ("seed1.5-vl", "Seed-VL", NORM1000),
    ("moonshotai/Kimi-VL-A3B-Instruct", "Kimi-VL", ("norm1_xyxy", "bbox_2d", 1)),
    ("claude-sonnet-4-5", "Claude", ("pixel_sent", "bbox_2d", 1)),
    ("anthropic/claude-opus-4.6", "Claude", ("pixel_sent", "bbox_2d", 1)),
    ("qwen-vl-max", "Qwen2.5-VL", QWEN25),
    ("qwen-vl-max-latest", "Qwen2.5-VL", QWEN25),
    ("qwen-vl-plus-2025-08-15", "Qwen2.5-VL", QWEN25),
    ("qwen/qwen-vl-plus", "Qwen2.5-VL", QWEN25),
    ("Qwen/QVQ-72B-Preview", "Qwen2-VL", QWEN2),
    ("qvq-max", "Qwen2-VL", QWEN2),
    ("qwen3-vl-plus", "Qwen3-VL and later", QWEN3),
    ("glm-4v-plus-0111", "GLM-V", NORM1000),
    ("glm-4v-flash", "GLM-V", NORM1000),
    ("deepseek-v4-flash-vision-exp", "DeepSeek", NORM1000),
    ("doubao-seed-1-6-vision-250815", "Seed-VL", NORM1000),
    ("bytedance-seed/seed-1.6", "Seed-VL", NORM1000),
    ("seed-1-6-flash", "Seed-VL", NORM1000),
    ("seed-2.0-lite", "Seed-VL", NORM1000),
    ("moonshotai/Kimi-K2.5", "Kimi-VL", ("norm1_xyxy", "bbox_2d", 1)),
    ("kimi-k2.6", "Kimi-VL", ("norm1_xyxy", "bbox_2d", 1)),
    ("accounts/fireworks/models/kimi-k2p5", "Kimi-VL", ("norm1_xyxy", "bbox_2d", 1)),
    ("us.amazon.nova-pro-v1:0", "Amazon Nova", NORM1000),
    ("amazon/nova-2-lite-v1", "Amazon Nova", NORM1000),
    ("gpt-5.1", "GPT-5", ("pixel_sent", "bbox_2d", 1)),
    ("openai/gpt-5.6-sol", "GPT-5", ("pixel_sent", "bbox_2d", 1)),
]

NOTHING_KNOWN = [
    "", "test-vlm", "my-model", "default", "gpt-4o", "gpt-oss-120b", "google/paligemma-3b-mix-448",
    "google/paligemma2-10b-pt-896", "allenai/Molmo-7B-D-0924", "meta-llama/Llama-4-Scout-17B-16E",
    "meta-llama/Llama-3.2-11B-Vision-Instruct", "mistralai/Pixtral-12B-2409", "mistral-large-4",
    "microsoft/Phi-3.5-vision-instruct", "moonshotai/Kimi-K2-Instruct", "kimi-k2-0905-preview",
    "stepfun-ai/step3", "Qwen/Qwen-VL-Chat", "Qwen/Qwen-7B-Chat", "qwen-72b", "zai-org/GLM-4.5-Air",
    "google/gemma-2-9b-it", "deepseek-ai/DeepSeek-V3.2", "ByteDance-Seed/Seed-OSS-36B-Instruct",
    "glm-4-plus", "some-bossanova-pro", "baidu/ERNIE-4.5-21B-A3B-PT",
]  # fmt: skip


@pytest.mark.parametrize(("model", "name", "profile"), KNOWN, ids=[row[0] for row in KNOWN])
def test_known_families(model: str, name: str, profile: tuple[str, str, int]) -> None:
    family = family_of(model)
    assert family.name == name
    assert (family.convention, family.box_key, family.transport.multiple) == profile


@pytest.mark.parametrize("model", NOTHING_KNOWN)
def test_of_others_nothing_is_claimed(model: str) -> None:
    assert family_of(model) is UNKNOWN


@pytest.mark.parametrize("size", [(4032, 3024), (640, 480), (333, 1007), (4000, 1000), (8, 8)])
def test_what_is_sent_needs_no_resize_by_the_server(size: tuple[int, int]) -> None:
    """So that the pixels a model counts are the pixels that were sent."""
    for family in {family_of(model) for model, *_ in KNOWN}:
        sent = fit_size(size, family.transport)
        assert sent[0] * sent[1] <= family.transport.max_pixels, family
        assert {side % family.transport.multiple for side in sent} == {0}, family
        if family.convention == "pixel_resized":
            box = (3.0, 5.0, 7.0, 11.0)
            frame = Frame(size, sent, family.transport.resize_multiple)
            assert CONVENTIONS[family.convention].to_sent(box, frame) == box, family
        if family.name == "Claude":
            assert max(sent) <= 1568
        if family.name == "GPT-5":
            assert min(sent) <= 768


@pytest.mark.parametrize("model", ["test-vlm", "gemini-3.5-flash-lite", "Qwen3-VL-8B", "claude-4"])
@pytest.mark.parametrize("backend", ["openai", "gemini"])
def test_in_pixels_nothing_is_left_to_resize(model: str, backend: str) -> None:
    """Whatever the family: a spec may name the convention."""
    overrides = [f"vlm.backend={backend}", "vlm.openai.base_url=http://localhost:1/v1"]
    overrides += [f"vlm.{backend}.model{'_name' * (backend == 'openai')}={model}"]
    vlm = load_spec(None, ["results_dir=x", "data.input_jsonl=x", *overrides]).vlm
    sizes = [(4032, 3024), (333, 1007), (40, 30), (8, 8)]
    for convention, size in itertools.product(PIXEL_CONVENTIONS, sizes):
        transport = transport_for(family_of(model), convention, vlm)
        sent = fit_size(size, transport)
        assert sent[0] * sent[1] <= transport.max_pixels, (convention, size)
        box = (3.0, 5.0, 7.0, 11.0)
        frame = Frame(size, sent, transport.resize_multiple)
        assert CONVENTIONS["pixel_resized"].to_sent(box, frame) == box, (convention, size)


@pytest.mark.parametrize(
    ("model", "megapixels"),
    [
        ("test-vlm", 1.0), ("gemma-3-27b", 1.0), ("qwen2.5-vl-7b", 1.0), ("qwen3-vl-8b", 1.0),
        ("claude-4", 0.615),
    ],
)  # fmt: skip
def test_a_large_photo_is_sent_as_large_as_the_family_uses_it(
    model: str, megapixels: float
) -> None:
    width, height = fit_size((4032, 3024), family_of(model).transport)
    assert 0.95 * megapixels <= width * height / 1e6 <= 1.005 * megapixels


@pytest.mark.parametrize(("level", "megapixels"), [("LOW", 0.29), ("MEDIUM", 0.57), ("HIGH", 1.15)])
def test_gemini_is_sent_what_the_media_resolution_holds(level: str, megapixels: float) -> None:
    overrides = ["vlm.backend=gemini", f"vlm.gemini.media_resolution=MEDIA_RESOLUTION_{level}"]
    vlm = load_spec(None, ["results_dir=x", "data.input_jsonl=x", *overrides]).vlm
    family = family_of(vlm.model)
    width, height = fit_size((4032, 3024), transport_for(family, family.convention, vlm))
    assert 0.95 * megapixels <= width * height / 1e6 <= 1.005 * megapixels


def test_more_pixels_may_weigh_more() -> None:
    """Where a spec asks for larger images, they are not squeezed into the bytes of small ones."""
    overrides = ["vlm.backend=openai", "vlm.openai.base_url=http://localhost:1/v1"]
    overrides += ["vlm.openai.model_name=test-vlm", "vlm.image.max_pixels=4014080"]
    vlm = load_spec(None, ["results_dir=x", "data.input_jsonl=x", *overrides]).vlm
    transport = transport_for(UNKNOWN, UNKNOWN.convention, vlm)
    assert (transport.max_pixels, transport.max_bytes) == (4 * 1280 * 28 * 28, 4 * 440_000)


def test_the_wording_asks_for_the_convention() -> None:
    assert family_of("gemini").wording.startswith("[ymin, xmin, ymax, xmax], normalized to 0-1000")
    assert "absolute pixels" in family_of("qwen2.5-vl").wording
    assert "0 to 1" in family_of("kimi-vl").wording
