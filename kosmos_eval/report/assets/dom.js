// Building blocks. Text from data becomes text nodes and nothing else: no string is ever parsed as HTML.

function h(tag, attributes, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// Text from data: set apart from what stands around it, whatever direction or marks it has.
const data = (text, attributes) => h("bdi", attributes, text);

const byId = (id) => document.getElementById(id);

const number = (value, digits) => value.toFixed(digits).replace("-", "−");

const count = (value) => value.toLocaleString("en-US");

function badge(label) {
  return h("span", { class: `badge badge-${label === "mini" ? "mini" : "data"}` }, label);
}

// --- sections that are filled when they come near the screen: the page opens at once, however much it holds ---

const unfilled = new Map();
const nearby = new IntersectionObserver(
  (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => fill(entry.target)),
  { rootMargin: "100% 0px" },
);

function whenNear(section, filler) {
  if (!section) return;
  unfilled.set(section, filler);
  nearby.observe(section);
}

function fill(section) {
  const filler = unfilled.get(section);
  if (!filler) return;
  unfilled.delete(section);
  nearby.unobserve(section);
  readPayload();
  filler();
}

// For whoever jumps or prints: a section filled later would push away what was jumped to.
const fillAll = () => [...unfilled.keys()].forEach(fill);

// --- what is shown only to whoever asks ---

const revealed = new Set();

function veil(node, sample, sensitive) {
  if (!sensitive || revealed.has(sample)) return node;
  const show = (event) => {
    event.preventDefault();
    event.stopPropagation();
    reveal(sample);
  };
  return h(
    "div",
    {
      class: "veil", role: "button", tabindex: "0", "data-sample": sample, onclick: show,
      "aria-label": "Hidden, since it may offend: press to show",
      onkeydown: (event) => { if (event.key === "Enter" || event.key === " ") show(event); },
    },
    h("div", { class: "veiled", "aria-hidden": "true" }, node),
  );
}

function reveal(sample) {
  revealed.add(sample);
  for (const node of document.querySelectorAll(`.veil[data-sample="${Number(sample)}"]`)) {
    node.replaceWith(...node.firstElementChild.childNodes);
  }
  document.dispatchEvent(new Event("revealed"));
}
