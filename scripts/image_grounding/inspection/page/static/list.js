// SPDX-License-Identifier: Apache-2.0
// The cards that pass the filters, in the chosen order; each is built when it scrolls near.

class List {
  constructor(data, place, onBuilt) {
    this.data = data;
    this.place = place;
    this.onBuilt = onBuilt;
    this.views = new Map();
    this.shown = [];
    this.observer = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (isIntersecting) this.build(this.byArticle.get(target));
      }
    }, { rootMargin: "150% 0%" });
    this.articles = new Map(data.cards.map((card) => [card, el("article", { class: "card empty", tabindex: -1, "aria-label": `Card ${card.number}` })]));
    this.byArticle = new Map([...this.articles].map(([card, article]) => [article, card]));
    for (const article of this.articles.values()) this.observer.observe(article);
  }

  build(card) {
    if (this.views.has(card)) return this.views.get(card);
    const view = new View(card, this.data);
    const article = this.articles.get(card);
    this.views.set(card, view);
    this.observer.unobserve(article);
    article.classList.remove("empty");
    article.append(
      el("header", {},
        el("div", { class: "what" },
          el("h3", {}, el("span", { class: "order" }, String(card.number)), el("bdi", { class: "path" }, card.path)),
          makeWhy(card),
          el("span", {}, `${card.size[0]} × ${card.size[1]} px, record ${card.index + 1}`)),
        el("span", { class: "state" }),
        el("button", { type: "button", class: "plain zoom-in", "aria-label": "Larger view" }, "⤢")),
      view.root);
    this.onBuilt(card);
    return view;
  }

  apply(fits, order) {
    this.shown = this.data.cards.filter(fits).sort(order);
    this.place.replaceChildren(...this.shown.map((card) => this.articles.get(card)));
  }
}

// Why a card is shown; only random ones represent all records.
function makeWhy({ picked, because }) {
  const random = picked === "random";
  const also = because ? ` (also picked: ${because})` : "";
  return el("span", { class: random ? "why random" : "why" },
    random ? `random sample${also}` : `picked because: ${because}`);
}

const scoresOf = (card) =>
  card.expressions.flatMap(({ boxes }) => boxes.map(({ score }) => score)).filter((score) => score !== null);

const lowest = (card) => Math.min(...scoresOf(card), Infinity);
const highest = (card) => Math.max(...scoresOf(card), -Infinity);

const NAMES = new Intl.Collator("en", { numeric: true }); // img2 before img10

// Ties keep the sampled order, as sorting is stable.
const ORDERS = {
  order: () => 0,
  worst: (a, b) => b.flags.length - a.flags.length || compare(lowest(a), lowest(b)),
  low: (a, b) => compare(lowest(a), lowest(b)),
  high: (a, b) => compare(highest(b), highest(a)),
  name: (a, b) => NAMES.compare(a.path, b.path),
};

function compare(a, b) {
  return a < b ? -1 : Number(a > b);
}

// The filter form as a predicate of cards.
function makeFilter({ text, flag, picked, marked, low, high }, marks) {
  const wanted = text.trim().toLowerCase();
  const [from, to] = [low === "" ? -Infinity : Number(low), high === "" ? Infinity : Number(high)];
  return (card) => {
    if (wanted && !card.searched.includes(wanted)) return false;
    if (picked && (picked === "random") !== (card.picked === "random")) return false;
    if (flag === "-" && card.flags.length) return false;
    if (flag && flag !== "-" && !card.flags.some(({ check }) => check === flag)) return false;
    if (marked && (marked === "done") !== marks.reviewed(card)) return false;
    return (low === "" && high === "") || scoresOf(card).some((score) => from <= score && score <= to);
  };
}
