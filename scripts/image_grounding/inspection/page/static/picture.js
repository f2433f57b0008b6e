// SPDX-License-Identifier: Apache-2.0
// A picture with its boxes: an SVG in upright original pixels over the thumbnail. It scales with
// the picture; lines and numbers keep their size on the screen.

function makePicture(card, images, large) {
  const [width, height] = card.size;
  const boxes = card.expressions.flatMap((expression, e) =>
    expression.boxes.map(({ bbox, score }, b) => ({ bbox, score, e, b })));
  const area = ({ bbox: [x1, y1, x2, y2] }) => (x2 - x1) * (y2 - y1);
  boxes.sort((a, b) => area(b) - area(a)); // small ones on top

  const picture = el("div", { class: "picture" },
    card.image === null
      ? el("p", { class: "placeholder" }, "No picture: ", el("bdi", {}, card.problem))
      : el("img", { src: images[card.image], alt: card.caption, decoding: "async", loading: "lazy" }),
    svg("svg", { class: "boxes", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
      // All dark edges lie below all lines, so that coinciding boxes show both dashes.
      ...["halo", "line", "reach"].flatMap((part) => boxes.map((box) => makeBox(box, part)))),
    el("div", { class: "tags", "aria-hidden": "true" }, ...makeTags(boxes, width, height)),
  );
  // Set through the object model: the policy forbids style attributes.
  picture.style.aspectRatio = `${width} / ${height}`;
  picture.style.maxWidth = `min(100%, calc(var(--most) * ${width / height}), max(${width * (large ? 8 : 2)}px, 20rem))`;
  return picture;
}

function makeBox({ bbox: [x1, y1, x2, y2], e, b }, part) {
  return svg("rect", {
    class: `${part} ${look(e)}`, "data-e": e, "data-b": b,
    x: x1, y: y1, width: x2 - x1, height: y2 - y1,
  });
}

const SMALL = 0.18; // of a side of the picture: a number in the box would hide what is in it

// The expression's number at the upper left corner of each box, outside of small ones; side by side
// where corners meet.
function makeTags(boxes, width, height) {
  const taken = [];
  const ordered = [...boxes].sort((first, second) => first.e - second.e || first.b - second.b);
  return ordered.map(({ bbox: [x1, y1, x2, y2], e, b }) => {
    const small = Math.min((x2 - x1) / width, (y2 - y1) / height) < SMALL;
    const above = small && y1 > 0.07 * height;
    const x = Math.min((100 * x1) / width, 95);
    const y = (100 * (small && !above ? y2 : y1)) / height;
    const before = taken.filter(([u, v]) => Math.abs(u - x) < 3 && Math.abs(v - y) < 4).length;
    taken.push([x, y]);
    const tag = el("span", { class: `tag ${look(e)}${above ? " above" : ""}`, "data-e": e, "data-b": b }, String(e + 1));
    tag.style.left = `calc(${x}% + ${before * 1.35}rem)`;
    tag.style.top = `${y}%`;
    return tag;
  });
}
