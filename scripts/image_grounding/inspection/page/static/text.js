// SPDX-License-Identifier: Apache-2.0
// Captions: phrases in their colours, and what cleaning changed. Spans count code points.

function makeCaption(card) {
  const chars = Array.from(card.caption);
  const spans = card.expressions
    .map(({ span }, e) => span && { e, start: span[0], end: Math.min(span[1], chars.length) })
    .filter((span) => span && span.start < span.end)
    .sort((a, b) => (b.end - b.start) - (a.end - a.start) || a.e - b.e);
  const levels = underlineLevels(spans);
  const cuts = [...new Set([0, chars.length, ...spans.flatMap(({ start, end }) => [start, end])])]
    .sort((a, b) => a - b);

  const caption = el("p", { class: "caption", dir: "auto" });
  for (let i = 0; i + 1 < cuts.length; i += 1) {
    let node = document.createTextNode(chars.slice(cuts[i], cuts[i + 1]).join(""));
    // From the inside out: the pointer meets the shortest phrase.
    for (const { e, start, end } of spans.toReversed()) {
      if (start <= cuts[i] && cuts[i + 1] <= end) {
        const first = start === cuts[i];
        node = el("span", {
          class: `in ${look(e)} u${levels.get(e)}${first ? " first" : ""}`,
          "data-e": e,
          "data-n": first ? e + 1 : null,
        }, node);
      }
    }
    caption.append(node);
  }
  return caption;
}

// The underline level of each phrase, so that nested phrases stay apart.
function underlineLevels(spans) {
  const levels = new Map();
  for (const { e, start, end } of spans.toReversed()) {
    const met = spans
      .filter((other) => levels.has(other.e) && other.start < end && start < other.end)
      .map((other) => levels.get(other.e));
    let level = 0;
    while (met.includes(level)) level += 1;
    levels.set(e, Math.min(level, 3));
  }
  return levels;
}

function makeDiff(card) {
  if (card.diff.every(([kind]) => kind === "=")) {
    return el("p", { class: "diff" }, "Cleaning changed nothing.");
  }
  const tags = { "=": "span", "-": "del", "+": "ins" };
  return el("p", { class: "diff", dir: "auto" },
    el("span", { class: "label" }, "Original → cleaned"),
    ...card.diff.map(([kind, text]) => el(tags[kind], {}, text)));
}
