// SPDX-License-Identifier: Apache-2.0
// The contents of a card, in the list and in the larger view.

class View {
  constructor(card, data, large = false) {
    this.card = card;
    this.rows = card.expressions.map((_, e) => makeRow(card, e));
    this.root = el("div", { class: "view" },
      makePicture(card, data.images, large),
      el("div", { class: "words" },
        makeCaption(card),
        el("ol", { class: "rows", "aria-label": "Phrases" }, ...this.rows),
        card.expressions.length ? null : el("p", { class: "nothing" }, "No expressions."),
        makeFlags(card, data.checks),
        large ? null : makeDiff(card),
        large ? null : makeReplies(card)));
    this.parts = [...this.root.querySelectorAll("[data-e]")];
  }

  // Shows only the boxes of expression `shown`, or all for null; and the marks.
  update(shown, pinned, marks) {
    this.root.classList.toggle("alone", shown !== null);
    for (const part of this.parts) {
      const e = Number(part.dataset.e);
      part.classList.toggle("off", shown !== null && e !== shown);
      part.classList.toggle("on", e === shown);
      if (part.dataset.b !== undefined) {
        const b = Number(part.dataset.b);
        part.classList.toggle("picked", pinned?.e === e && pinned.b === b);
        const mark = marks.get(this.card, e, b);
        if (mark) part.dataset.marked = MARKS[mark];
        else delete part.dataset.marked;
      }
    }
    this.rows.forEach((row, e) => {
      const own = pinned?.e === e ? pinned.b : null;
      const mark = marks.get(this.card, e, own);
      row.querySelector(".phrase").setAttribute("aria-pressed", String(pinned?.e === e));
      for (const button of row.querySelectorAll("[data-mark]")) {
        button.setAttribute("aria-pressed", String(button.dataset.mark === mark));
      }
    });
  }

  focus({ e, b }) {
    this.rows[e].querySelector(b === null ? ".phrase" : `[data-b="${b}"]`).focus();
  }
}

function makeRow(card, e) {
  const { text, span, boxes, none } = card.expressions[e];
  return el("li", { class: `row ${look(e)}`, "data-e": e },
    el("button", { type: "button", class: "phrase", "data-e": e },
      el("span", { class: "badge" }, String(e + 1)),
      svg("svg", { class: "sample", viewBox: "0 0 24 4", "aria-hidden": "true" }, svg("line", { x1: 0, x2: 24, y1: 2, y2: 2 })),
      el("bdi", {}, text)),
    el("span", { class: "scores" },
      ...boxes.map(({ bbox, score }, b) => el("button", {
        type: "button", class: "score", "data-e": e, "data-b": b,
        title: `box ${b + 1}: [${bbox.join(", ")}]`,
        "aria-label": `box ${b + 1} of the ${boxes.length} of phrase ${e + 1}, ${score === null ? "no score" : `score ${score.toFixed(2)}`}`,
      }, score === null ? `#${b + 1}` : score.toFixed(2))),
      boxes.length ? null : el("span", { class: "none" }, none),
      span ? null : el("span", { class: "none" }, "not in the caption")),
    el("span", { class: "marks", role: "group", "aria-label": `Mark ${e + 1}` },
      ...Object.entries(MARKS).map(([mark, label], i) => el("button", {
        type: "button", "data-mark": mark, title: `${label} (key ${i + 1})`, "aria-pressed": "false",
      }, label))));
}

// The replies that the run kept, as the model wrote them.
function makeReplies(card) {
  if (!card.replies.length) return null;
  return el("details", { class: "fold replies" },
    el("summary", {}, "What the model said"),
    ...card.replies.flatMap(({ step, text }) => [
      el("p", { class: "label" }, `step ${step}`),
      el("pre", { dir: "auto" }, text)]));
}

function makeFlags(card, checks) {
  if (!card.flags.length) return null;
  return el("ul", { class: "flags", "aria-label": "Flags" }, ...card.flags.map((flag) => {
    const { sentence = "", remedy = "" } = checks[flag.check] ?? {};
    const about = flag.expression;
    return el("li", {}, el("button", {
      type: "button", class: "flag",
      "data-e": about, "data-b": flag.instances.length === 1 ? flag.instances[0] : null,
      "data-tip": [sentence, flag.detail, remedy].filter(Boolean).join("\n") || plain(flag.check),
    },
    about === null ? null : el("span", { class: `badge ${look(about)}` }, String(about + 1)),
    plain(flag.check),
    flag.detail ? el("span", { class: "detail" }, flag.detail) : null));
  }));
}
