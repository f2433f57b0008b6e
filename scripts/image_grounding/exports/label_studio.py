# SPDX-License-Identifier: Apache-2.0
"""Label Studio: tasks with the boxes as predictions, to be corrected by people."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from image_grounding.boxes.frames import Size
from image_grounding.boxes.geometry import PixelBox
from image_grounding.exports.base import Example, Exporter, Setting, file_stem, register
from image_grounding.files import clean_json, clean_text


@register
class LabelStudio(Exporter):
    """A file of tasks a part, and the labeling configuration for all."""

    name = "label-studio"
    summary = "Label Studio tasks with pre-annotations, and the labeling configuration"
    reader = (
        "Put labeling_config.xml into the project's settings, then import the tasks. Each task "
        "brings its own labels: the phrases of its caption. Image paths are for local file serving "
        "(LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true), below "
        "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT: with --copy-images, this folder; another "
        "--image-prefix serves another storage."
    )
    default_prefix = "/data/local-files/?d="

    def __init__(self, folder: Path, setting: Setting, stack: ExitStack) -> None:
        super().__init__(folder, setting, stack)
        self._files = {part: self.open(f"{file_stem(part)}.json") for part in setting.parts}
        self._begun: set[str] = set()

    def image(self, path: str) -> str:
        """A URL; storages other than web servers use their keys as they are."""
        prefix = super().image("")
        stored = "://" in prefix and not prefix.lower().startswith(("http://", "https://"))
        return prefix + (path if stored else quote(path, errors="replace"))

    def add(self, example: Example) -> None:
        """Write a task."""
        file = self._files[example.part]
        file.write(",\n" if example.part in self._begun else "[\n")
        self._begun.add(example.part)
        file.write(clean_json(self._task(example)))

    def tables(self) -> dict[str, str]:
        """The tasks."""
        return {part: f"{file_stem(part)}.json" for part in self.setting.parts}

    def finish(self) -> None:
        """Close the files and write the configuration."""
        for part, file in self._files.items():
            file.write("\n]\n" if part in self._begun else "[]\n")
        view = ElementTree.Element("View")
        ElementTree.SubElement(view, "Image", name="image", value="$image")
        ElementTree.SubElement(view, "Text", name="caption", value="$caption")
        # Not a list of all phrases of the dataset: Label Studio would show them at every task.
        ElementTree.SubElement(
            view, "RectangleLabels", name="label", toName="image", value="$labels"
        )
        ElementTree.indent(view)
        text = ElementTree.tostring(view, encoding="unicode")
        self.open("labeling_config.xml").write(text + "\n")

    def _task(self, example: Example) -> dict[str, Any]:
        record = example.record
        results = []
        labels = {}
        for number, expression in enumerate(record.expressions):
            label = clean_text(expression.text)
            labels[label] = {"value": label}
            for index, instance in enumerate(expression.instances):
                result = {
                    "id": f"e{number}-b{index}",
                    "type": "rectanglelabels",
                    "from_name": "label",
                    "to_name": "image",
                    "original_width": record.size[0],
                    "original_height": record.size[1],
                    "image_rotation": 0,
                    "value": {**_percent(instance.bbox, record.size), "rectanglelabels": [label]},
                }
                if instance.score is not None:
                    result["score"] = instance.score
                results.append(result)
        return {
            "data": {
                "image": example.image,
                "caption": record.cleaned_caption,
                "labels": list(labels.values()),
                "sample_id": record.sample_id,
            },
            "predictions": [{"model_version": self.setting.model, "result": results}],
        }


def _percent(box: PixelBox, size: Size) -> dict[str, float]:
    """Corner, width and height in percent of the image."""
    x1, y1, x2, y2 = box
    width, height = size
    return {
        "x": 100 * x1 / width,
        "y": 100 * y1 / height,
        "width": 100 * (x2 - x1) / width,
        "height": 100 * (y2 - y1) / height,
        "rotation": 0,
    }
