// Wiring: what is open, the keyboard, the theme.

function choose(place, opening) {
  list.place = place;
  const box = byId("detail-body");
  if (place < 0) box.replaceChildren(h("p", { class: "muted" }, "No sample is open."));
  else {
    box.replaceChildren(...detail(list.selected).filter(Boolean));
    byId("detail").scrollTop = 0;
    list.show(place);
  }
  byId("rows").setAttribute("aria-activedescendant", place < 0 ? "" : `row-${list.selected}`);
  byId("position").textContent = place < 0 ? "" : `${count(place + 1)} of ${count(list.found.length)}`;
  if (opening) {
    byId("detail").classList.add("open");
    history.replaceState(null, "", `#sample-${list.selected}`);
  }
  list.draw(true);
}

// Opens a row wherever it is asked for, whatever the filters say.
function open(r) {
  if (!list.found.includes(r)) resetFilters();
  byId("samples").scrollIntoView();
  choose(list.found.indexOf(r), true);
}

function step(by) {
  if (!list.found.length) return;
  byId("samples").scrollIntoView();
  choose(Math.min(list.found.length - 1, Math.max(0, list.place + by)), true);
}

const close = () => byId("detail").classList.remove("open");

function resetFilters() {
  for (const node of document.querySelectorAll("#filters select")) node.value = ANY;
  byId("search").value = "";
  refilter();
}

function cycleOutcome() {
  const node = byId("filter-outcome");
  node.selectedIndex = (node.selectedIndex + 1) % node.options.length;
  byId("samples").scrollIntoView();
  refilter();
}

function turnTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
}

const jump = (n) => {
  const link = document.querySelectorAll("nav a")[n - 1];
  if (link) document.querySelector(link.getAttribute("href")).scrollIntoView();
};

const KEYS = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  PageDown: () => step(10), PageUp: () => step(-10), Home: () => step(-Infinity), End: () => step(Infinity),
  "/": () => { byId("samples").scrollIntoView(); byId("search").focus(); },
  f: cycleOutcome, x: resetFilters, t: turnTheme, Escape: close,
  v: () => { if (list.selected !== null) reveal(row(list.selected).sample); },
  "?": () => byId("help").showModal(),
};
const IN_LIST = new Set(["ArrowDown", "ArrowUp", "PageDown", "PageUp", "Home", "End"]);

document.addEventListener("revealed", () => list.draw(true));
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || byId("help").open) return;
  const typing = event.target.closest("input, select, textarea");
  if (typing) {
    if (event.key === "Escape") typing.blur();
    return;
  }
  if (IN_LIST.has(event.key) && !event.target.closest("#rows")) return;
  const action = KEYS[event.key] || (/^[1-9]$/.test(event.key) ? () => jump(Number(event.key)) : null);
  if (!action) return;
  event.preventDefault();
  fillAll();
  action();
});

function samples() {
  filterBar();
  let waiting = 0;
  byId("search").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(refilter, 120);
  });
  byId("rows").addEventListener("scroll", () => list.draw(false), { passive: true });
  new ResizeObserver(() => list.draw(false)).observe(byId("rows"));
  onClick({ reset: resetFilters, close, next: () => step(1), previous: () => step(-1) });
  refilter();
}

function onClick(actions) {
  for (const [id, action] of Object.entries(actions)) byId(id).addEventListener("click", action);
}

function start() {
  const [puzzles, memes] = [byId("puzzles"), byId("memes")];
  whenNear(puzzles, () => gallery(puzzles, ({ sample }) => sampleOf(sample).candidates.length > 0, puzzle));
  whenNear(memes, () => gallery(memes, ({ setting }) => setting.sensitive, meme));
  whenNear(byId("samples"), samples);
  onClick({ theme: turnTheme, "help-open": KEYS["?"], "help-close": () => byId("help").close() });
  document.querySelector("nav").addEventListener("click", fillAll);
  addEventListener("beforeprint", fillAll);
  if (location.hash) fillAll();
  const asked = /^#sample-(\d+)$/.exec(location.hash);
  if (asked && Number(asked[1]) < payload.rows.length) open(Number(asked[1]));
}

start();
