// SPDX-License-Identifier: Apache-2.0
// The marks of the reviewer, stored in this browser for each results folder. A mark belongs to the
// digest of a phrase and its boxes: pages of another sample or of a longer run keep it, pages with
// another answer do not.

const MARKS = { good: "good", wrong_box: "wrong box", wrong_phrase: "wrong phrase", missing: "missing" };
const WHOLE = ""; // the key of an expression's own mark, beside those of its boxes

class Marks {
  constructor(run, cards) {
    this.run = run;
    this.cards = cards;
    this.kept = true;
    this.place = `image-grounding/review/${run.fingerprint}`;
    this.all = this.read();
  }

  read() {
    try {
      const found = JSON.parse(localStorage.getItem(this.place));
      return found && typeof found === "object" ? found : {};
    } catch {
      this.kept = false;
      return {};
    }
  }

  key(card, e) {
    return card.expressions[e].digest;
  }

  get(card, e, b = null) {
    return this.all[this.key(card, e)]?.[b ?? WHOLE] ?? null;
  }

  // A mark of null removes it; without a box, the marks of the boxes too.
  set(card, e, b, mark) {
    const key = this.key(card, e);
    if (this.kept) this.all = this.read(); // another tab may show the same run
    const own = { ...this.all[key], [b ?? WHOLE]: mark };
    if (mark === null) delete own[b ?? WHOLE];
    if (Object.keys(own).length === 0 || (mark === null && b === null)) delete this.all[key];
    else this.all[key] = own;
    try {
      localStorage.setItem(this.place, JSON.stringify(this.all));
    } catch {
      this.kept = false;
    }
  }

  reviewed(card) {
    return card.expressions.length > 0 && card.expressions.every((_, e) => this.all[this.key(card, e)]);
  }

  list() {
    const found = [];
    for (const card of this.cards) {
      card.expressions.forEach((expression, e) => {
        const own = this.all[this.key(card, e)] ?? {};
        for (const place of [WHOLE, ...expression.boxes.keys()]) {
          if (own[place]) found.push({
            sample_id: card.sample,
            expression_id: expression.id,
            bbox_id: place === WHOLE ? null : expression.boxes[place].id,
            digest: expression.digest,
            mark: own[place],
          });
        }
      });
    }
    return found;
  }

  toFile() {
    const cards = this.cards.map(({ sample, picked }) => ({ sample_id: sample, picked }));
    return JSON.stringify({ format: 1, run: this.run, cards, marks: this.list() }, null, 1) + "\n";
  }

  // Adopts the marks of a review.json that fit this page; returns how many.
  fromFile(text) {
    const places = new Map();
    for (const card of this.cards) {
      card.expressions.forEach((expression, e) => {
        const name = (id) => JSON.stringify([card.sample, expression.id, id]);
        places.set(name(null), [card, e, null]);
        expression.boxes.forEach((box, b) => places.set(name(box.id), [card, e, b]));
      });
    }
    let loaded = 0;
    for (const { sample_id, expression_id, bbox_id, digest, mark } of JSON.parse(text).marks) {
      const place = places.get(JSON.stringify([sample_id, expression_id, bbox_id ?? null]));
      if (place && Object.hasOwn(MARKS, mark) && (digest ?? this.key(...place)) === this.key(...place)) {
        this.set(...place, mark);
        loaded += 1;
      }
    }
    return loaded;
  }
}
