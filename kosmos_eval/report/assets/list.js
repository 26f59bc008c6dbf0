// The list of samples: filters, and a window of rows. Only the rows in sight are in the document.

const ROW = 56;
const MARGIN = 8;

const list = {
  found: [],
  place: -1,
  drawn: "",

  get selected() { return this.place < 0 ? null : this.found[this.place]; },

  draw(always) {
    const box = byId("rows");
    const first = Math.max(0, Math.floor(box.scrollTop / ROW) - MARGIN);
    const last = Math.min(this.found.length, Math.ceil((box.scrollTop + box.clientHeight) / ROW) + MARGIN);
    const key = `${first}-${last}-${this.place}`;
    if (!always && key === this.drawn) return;
    this.drawn = key;
    byId("rows-space").style.height = `${this.found.length * ROW}px`;
    const nodes = [];
    for (let k = first; k < last; k += 1) nodes.push(this.line(k));
    byId("rows-space").replaceChildren(...nodes);
  },

  line(place) {
    const r = this.found[place];
    const { setting, sample } = row(r);
    const { id, pictures } = sampleOf(sample);
    const hidden = setting.sensitive && !revealed.has(sample) ? "blurred" : null;
    const node = h(
      "div",
      {
        class: "row", role: "option", id: `row-${r}`, "aria-selected": String(place === this.place),
        "aria-setsize": this.found.length, "aria-posinset": place + 1, onclick: () => choose(place, true),
      },
      h("span", { class: hidden ? "thumb blurred" : "thumb" }, pictures.length ? picture(pictures[0], "") : null),
      h("span", { class: "what" },
        h("span", { class: "excerpt" }, data(excerpt(r), { class: hidden })),
        h("span", { class: "where" },
          data(setting.task), ` · ${setting.shots}-shot · `, data(id, { class: "id" }),
          setting.data.startsWith("mini") ? badge("mini") : null)),
      ...prompts.map((prompt) => glyph(markOf(r, prompt), setting)),
    );
    node.style.top = `${place * ROW}px`;
    return node;
  },

  show(place) {
    const box = byId("rows");
    const top = place * ROW;
    if (top < box.scrollTop) box.scrollTop = top;
    if (top + ROW > box.scrollTop + box.clientHeight) box.scrollTop = top + ROW - box.clientHeight;
  },
};

const GLYPHS = { right: "✓", part: "◐", wrong: "✗", failed: "!", graded: "·" };
const WORDS = { right: "right", part: "partly right", wrong: "wrong", failed: "no answer", graded: "scored" };

function glyph(mark, setting) {
  if (mark === null) return h("span", { class: "mark" }, "–");
  const [verdict, value] = mark;
  const shown = verdict === "graded" && value !== null ? number(value, 2) : GLYPHS[verdict];
  const title = value === null ? WORDS[verdict] : `${WORDS[verdict]}: ${setting.metric} ${number(value, 2)}`;
  return h("span", { class: `mark ${verdict}`, title, "aria-label": title }, shown);
}

// --- filters ---

const ANY = "";
const FILTERS = { task: "all tasks", shots: "all shots", model: "all models", seed: "all seeds", data: "all data" };

function filterBar() {
  const bar = byId("filters");
  for (const [name, all] of Object.entries(FILTERS)) {
    const values = [...new Set(payload.settings.map((setting) => String(setting[name])))];
    if (values.length < 2) continue;
    const label = (value) => (name === "shots" ? `${value} shots` : name === "seed" ? `seed ${value}` : value);
    bar.append(select(name, [[ANY, all], ...values.map((value) => [value, label(value)])]));
  }
  bar.append(select("prompt", [[ANY, "all prompts"], ...prompts.map((prompt) => [prompt, prompt])]));
  bar.append(select("outcome", outcomes()));
}

function select(name, options) {
  const nodes = options.map(([value, label]) => h("option", { value }, label));
  return h("select", { id: `filter-${name}`, "aria-label": name, onchange: refilter }, nodes);
}

function outcomes() {
  const found = [[ANY, "any outcome"], ["right", "right"], ["wrong", "wrong"], ["failed", "no answer"]];
  const base = prompts[0];
  if (prompts.length > 1) found.push(["flips", "any flip"]);
  prompts.slice(1).forEach((other, k) => {
    found.push([`gain-${k + 1}`, `${base} wrong, ${other} right`], [`loss-${k + 1}`, `${base} right, ${other} wrong`]);
    found.push([`more-${k + 1}`, `${other} scores higher`], [`less-${k + 1}`, `${other} scores lower`]);
  });
  return found;
}

function hasOutcome(r, outcome, prompt) {
  if (outcome === ANY) return prompt === ANY || markOf(r, prompt) !== null;
  const asked = (prompt === ANY ? prompts : [prompt]).map((name) => markOf(r, name));
  if (outcome === "right") return asked.some(isRight);
  if (outcome === "wrong") return asked.some(isWrong);
  if (outcome === "failed") return asked.some((mark) => mark !== null && mark[0] === "failed");
  if (outcome === "flips") {
    const all = prompts.map((name) => markOf(r, name));
    return all.some(isRight) && all.some(isWrong);
  }
  const [kind, other] = outcome.split("-");
  const a = markOf(r, prompts[0]);
  const b = markOf(r, prompts[Number(other)]);
  if (kind === "gain") return isWrong(a) && isRight(b);
  if (kind === "loss") return isRight(a) && isWrong(b);
  if (a === null || b === null || a[1] === null || b[1] === null) return false;
  return kind === "more" ? b[1] > a[1] : b[1] < a[1];
}

function refilter() {
  const chosen = (name) => (byId(`filter-${name}`) ? byId(`filter-${name}`).value : ANY);
  const wanted = Object.keys(FILTERS).map((name) => [name, chosen(name)]).filter(([, value]) => value !== ANY);
  const [prompt, outcome] = [chosen("prompt"), chosen("outcome")];
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const before = list.selected;
  const settings = payload.settings.map((setting) => wanted.every(([name, value]) => String(setting[name]) === value));
  list.found = [];
  payload.rows.forEach(([setting], r) => {
    if (!settings[setting] || !hasOutcome(r, outcome, prompt)) return;
    if (words.length && !words.every((word) => haystack(r).includes(word))) return;
    list.found.push(r);
  });
  const all = payload.rows.length;
  byId("found").textContent = `${count(list.found.length)} of ${count(all)} samples`;
  byId("nothing").hidden = list.found.length > 0;
  byId("rows").scrollTop = 0;
  const kept = list.found.indexOf(before);
  choose(kept >= 0 ? kept : list.found.length ? 0 : -1, false);
}
