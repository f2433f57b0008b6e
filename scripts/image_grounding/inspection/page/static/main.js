// SPDX-License-Identifier: Apache-2.0
// Interaction: pointer, keys, marks, filters.

const data = JSON.parse(byId("data").textContent);
data.cards.forEach((card, place) => {
  card.number = place + 1;
  const original = card.diff.filter(([kind]) => kind !== "+").map(([, text]) => text).join("");
  const phrases = card.expressions.map(({ text }) => text);
  card.searched = [card.caption, original, card.path, card.sample, ...phrases].join("\n").toLowerCase();
});
const marks = new Marks(data.run, data.cards);
const list = new List(data, byId("cards"), refresh);
const form = byId("filters");
const zoom = byId("zoom");
const tip = byId("tip");

let current = null; // the card that keys go to
let pin = null; // {e, b}: the expression of it that was chosen, and the box or null
let hover = null; // {card, e}
let zoomed = null; // the view in the dialog

// -- what the pointer is on --------------------------------------------------------------------------

function cardAt(node) {
  if (zoomed?.root.contains(node)) return zoomed.card;
  return list.byArticle.get(node?.closest?.("article")) ?? null;
}

function placeAt(node) {
  const part = node?.closest?.("[data-e]");
  if (!part) return null;
  const b = part.dataset.b;
  return { e: Number(part.dataset.e), b: b === undefined ? null : Number(b) };
}

// The expression, and perhaps the box, that a mark applies to; null for the whole card.
function target(card) {
  const focused = cardAt(document.activeElement) === card ? placeAt(document.activeElement) : null;
  const chosen = current === card ? pin : null;
  return focused && (focused.b !== null || focused.e !== chosen?.e) ? focused : chosen ?? focused;
}

const viewOf = (card) => (zoom.open ? zoomed : list.build(card));

function refresh(card) {
  if (!card) return;
  const shown = hover?.card === card ? hover.e : target(card)?.e ?? null;
  for (const view of [list.views.get(card), zoomed?.card === card ? zoomed : null]) {
    view?.update(shown, target(card), marks);
  }
  const article = list.articles.get(card);
  const done = marks.reviewed(card);
  article.classList.toggle("current", card === current);
  article.classList.toggle("done", done);
  const state = article.querySelector(".state");
  if (state) state.textContent = done ? "✓ reviewed" : "";
}

function choose(card, place = null) {
  const before = current;
  current = card;
  pin = place;
  if (before !== card) refresh(before);
  refresh(card);
}

function goTo(card) {
  if (!card) return;
  choose(card);
  list.build(card);
  if (zoom.open) {
    openZoom(card);
    return;
  }
  const article = list.articles.get(card);
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block: "start" });
}

function step(by) {
  const place = list.shown.indexOf(current);
  const next = place < 0 ? 0 : Math.min(Math.max(place + by, 0), list.shown.length - 1);
  goTo(list.shown[next]);
}

function stepExpression(by) {
  if (!current) step(1);
  const count = current?.expressions.length;
  if (!count) return;
  const at = target(current)?.e;
  const e = at === undefined ? (by > 0 ? 0 : count - 1) : (at + by + count) % count;
  choose(current, { e, b: null });
  viewOf(current).focus(pin);
}

function stepBox() {
  if (!current?.expressions.length) return;
  const { e, b } = target(current) ?? { e: 0, b: null };
  const count = current.expressions[e].boxes.length;
  if (!count) return;
  choose(current, { e, b: b === null ? 0 : (b + 1) % count });
  viewOf(current).focus(pin);
}

// -- marks ---------------------------------------------------------------------------------------

function setMark(card, mark, place = target(card)) {
  if (place) marks.set(card, place.e, place.b, mark);
  else card.expressions.forEach((_, e) => marks.set(card, e, null, mark));
  refresh(card);
  count();
}

function count() {
  const all = data.cards.filter((card) => card.expressions.length);
  const done = all.filter((card) => marks.reviewed(card)).length;
  byId("progress").max = all.length || 1;
  byId("progress").value = done;
  const random = all.filter(({ picked }) => picked === "random");
  const drawn = random.filter((card) => marks.reviewed(card)).length;
  byId("reviewed").textContent = `${done} of ${all.length} reviewed`
    + (random.length < all.length ? `, ${drawn} of ${random.length} random` : "")
    + (marks.kept ? "" : "; this browser keeps no marks: download before you close");
}

function download() {
  const url = URL.createObjectURL(new Blob([marks.toFile()], { type: "application/json" }));
  el("a", { href: url, download: "review.json" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

async function load(file) {
  let message;
  try {
    const loaded = marks.fromFile(await file.text());
    data.cards.forEach(refresh);
    count();
    message = `${loaded} marks loaded`;
  } catch {
    message = "this file is no review.json";
  }
  byId("reviewed").textContent += `; ${message}`;
}

// -- larger view, tips, theme --------------------------------------------------------------------

function openZoom(card) {
  zoomed = new View(card, data, true);
  zoom.replaceChildren(
    el("header", {}, el("bdi", { class: "path" }, card.path),
      el("button", { type: "button", class: "plain", "data-close": true, "aria-label": "Close" }, "✕")),
    zoomed.root);
  choose(card, card === current ? pin : null);
  if (!zoom.open) zoom.showModal();
  if (pin) zoomed.focus(pin);
}

function showTip(chip) {
  tip.textContent = chip.dataset.tip;
  chip.setAttribute("aria-describedby", "tip");
  tip.showPopover?.();
  const { left, top, bottom } = chip.getBoundingClientRect();
  const { width, height } = tip.getBoundingClientRect();
  tip.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
  tip.style.top = `${bottom + height + 12 < innerHeight ? bottom + 6 : top - height - 6}px`;
}

function hideTip() {
  if (tip.matches(":popover-open")) tip.hidePopover();
}

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
}

function toggleTheme() {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark"
    || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
  setTheme(dark ? "light" : "dark");
  try {
    localStorage.setItem("image-grounding/theme", document.documentElement.dataset.theme);
  } catch { /* then it lasts as long as the page */ }
}

// -- filters -------------------------------------------------------------------------------------

function applyFilters() {
  const asked = Object.fromEntries(["text", "flag", "picked", "marked", "low", "high"].map((id) => [id, byId(id).value]));
  list.apply(makeFilter(asked, marks), ORDERS[byId("sort").value]);
  const [some, all] = [list.shown.length, data.cards.length];
  byId("shown").textContent = some === all ? "" : `${some} of ${all} shown`;
  byId("nothing").hidden = some > 0;
}

function chooseFlag(name) {
  byId("flag").value = name;
  applyFilters();
  byId("cards-title").scrollIntoView();
}

// -- events --------------------------------------------------------------------------------------

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  n: () => stepExpression(1),
  p: () => stepExpression(-1),
  ArrowRight: () => stepExpression(1),
  ArrowLeft: () => stepExpression(-1),
  b: stepBox,
  z: () => (zoom.open ? zoom.close() : current && openZoom(current)),
  "?": () => byId("keys").showModal(),
  "/": () => byId("text").focus(),
  0: () => current && setMark(current, null),
  u: () => current && setMark(current, null),
  ...Object.fromEntries(Object.keys(MARKS).map((mark, i) => [i + 1, () => (current ? setMark(current, mark) : step(1))])),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("keys").open) return;
  if (event.key === "Escape" && !zoom.open) {
    hideTip();
    const article = list.articles.get(current);
    choose(current);
    if (article?.isConnected) article.focus({ preventScroll: true });
    else document.activeElement?.blur();
    return refresh(current);
  }
  if (event.target.closest("input, select, textarea")) return;
  if (zoom.open && event.key === "/") return;
  const act = Object.hasOwn(KEYS, event.key) ? KEYS[event.key] : null;
  if (act) {
    event.preventDefault();
    act();
  }
});

document.addEventListener("click", (event) => {
  const node = event.target;
  if (node.closest("[data-close]")) return node.closest("dialog").close();
  if (node.closest("[data-flag]")) return chooseFlag(node.closest("[data-flag]").dataset.flag);
  const card = cardAt(node);
  if (!card) return undefined;
  const place = placeAt(node);
  const mark = node.closest("[data-mark]")?.dataset.mark;
  if (mark) {
    const own = current === card && pin?.e === place.e ? pin : { e: place.e, b: null };
    choose(card, own);
    return setMark(card, marks.get(card, own.e, own.b) === mark ? null : mark, own);
  }
  if (place) {
    const again = current === card && pin?.e === place.e && pin.b === place.b;
    if (again) document.activeElement?.blur();
    return choose(card, again ? null : place);
  }
  choose(card);
  if (node.closest(".picture, .zoom-in")) {
    if (zoom.open) zoom.close();
    else openZoom(card);
  }
  return undefined;
});

function point(card, e) {
  const before = hover?.card;
  hover = e === undefined ? null : { card, e };
  if (before !== card) refresh(before);
  refresh(card);
}

document.addEventListener("pointerover", (event) => {
  const chip = event.target.closest("[data-tip]");
  if (chip) showTip(chip);
  else hideTip();
  if (event.pointerType === "mouse") point(cardAt(event.target), placeAt(event.target)?.e);
});

document.addEventListener("focusin", (event) => {
  const chip = event.target.closest("[data-tip]");
  if (chip) showTip(chip);
  const card = cardAt(event.target);
  if (card && card !== current) choose(card);
  else refresh(card);
});

document.addEventListener("focusout", (event) => {
  hideTip();
  const card = cardAt(event.target);
  setTimeout(() => refresh(card));
});

zoom.addEventListener("close", () => {
  const card = zoomed.card;
  zoomed = null;
  zoom.replaceChildren();
  const article = list.articles.get(card);
  article.focus({ preventScroll: true });
  article.scrollIntoView({ block: "nearest" });
  refresh(card);
});

form.addEventListener("input", applyFilters);
form.addEventListener("submit", (event) => event.preventDefault());
byId("more").addEventListener("click", ({ currentTarget }) => {
  currentTarget.setAttribute("aria-expanded", String(form.classList.toggle("open")));
});
byId("reset").addEventListener("click", () => {
  form.reset();
  applyFilters();
});
byId("theme").addEventListener("click", toggleTheme);
byId("help").addEventListener("click", () => byId("keys").showModal());
byId("download").addEventListener("click", download);
byId("load").addEventListener("change", ({ currentTarget }) => {
  if (currentTarget.files.length) load(currentTarget.files[0]);
  currentTarget.value = "";
});

// -- start ---------------------------------------------------------------------------------------

try {
  setTheme(localStorage.getItem("image-grounding/theme"));
} catch { /* then the system decides */ }
for (const name of new Set(data.cards.flatMap(({ flags }) => flags.map(({ check }) => check)))) {
  byId("flag").append(el("option", { value: name }, plain(name)));
}
byId("charts")?.toggleAttribute("open", !matchMedia("(max-width: 52rem)").matches);
// Scrolling to a card stops below the toolbar, whatever its height.
new ResizeObserver(([{ target: bar }]) => {
  document.documentElement.style.setProperty("--bar", `${bar.offsetHeight + 12}px`);
}).observe(document.querySelector(".toolbar"));
applyFilters();
count();
