// Puzzles and memes with their pictures.

const CARDS = 12;

function puzzle(r) {
  const { setting, sample, answers } = row(r);
  const { pictures, candidates, target } = sampleOf(sample);
  const across = pictures.length > 4 ? 3 : 2;
  const cells = [...pictures.map((p, k) => h("span", { class: "cell" }, picture(p, `panel ${k + 1}`))),
    h("span", { class: "cell missing", "aria-label": "the missing panel" }, "?")];
  const answered = setting.prompts.map((prompt, k) => [prompt, answerOf(answers[k])])
    .filter(([, answer]) => answer && answer.choices.length);
  const options = candidates.map(([name, p], k) => h("span", { class: name === target ? "option is-gold" : "option" },
    picture(p, `candidate ${name}`),
    answered.map(([prompt, answer]) => {
      const share = shares(answer.choices)[k];
      const bar = h("span", { class: "bar" });
      bar.style.width = `${100 * share}%`;
      const chosen = answer.prediction === name.trim();
      return h("span", { class: `track series-${prompts.indexOf(prompt)}${chosen ? " is-chosen" : ""}`,
        title: `${prompt}: ${number(100 * share, 1)} %${chosen ? ", chosen" : ""}` }, bar);
    })));
  return h("div", { class: "puzzle" },
    h("div", { class: `matrix across-${across}` }, cells), h("div", { class: "options" }, options));
}

function meme(r) {
  const { setting, sample, answers } = row(r);
  const { pictures, gold, fields } = sampleOf(sample);
  const text = new Map(fields).get("text");
  return [
    veil(h("div", { class: "meme" }, pictures.map((p) => picture(p, "meme")), text ? h("p", {}, data(text)) : null),
      sample, setting.sensitive),
    h("p", { class: "muted" }, "gold: ", data(gold.join(", "))),
    setting.prompts.map((prompt, k) => {
      const answer = answerOf(answers[k]);
      if (!answer || !answer.choices.length) return null;
      const share = shares(answer.choices)[answer.choices.length - 1];
      const bar = h("span", { class: "bar" });
      bar.style.width = `${100 * share}%`;
      return h("div", { class: `meter series-${prompts.indexOf(prompt)}` },
        data(prompt, { class: "name" }), h("span", { class: "track" }, bar),
        h("span", { class: "share" }, data(answer.choices.at(-1)[0].trim()), ` ${number(100 * share, 1)} %`));
    }),
  ];
}

// The rows of a gallery: those with the fewest shots, one a sample, flips before others.
function gathered(wanted) {
  const rows = payload.rows.map((_, r) => r).filter((r) => wanted(row(r)));
  const fewest = Math.min(...rows.map((r) => row(r).setting.shots));
  const seen = new Set();
  const chosen = rows.filter((r) => {
    const { setting, sample } = row(r);
    if (setting.shots !== fewest || seen.has(sample)) return false;
    seen.add(sample);
    return true;
  });
  const flips = (r) => Number(hasOutcome(r, "flips", ANY));
  return chosen.sort((a, b) => flips(b) - flips(a) || a - b);
}

function gallery(section, wanted, body) {
  const rows = gathered(wanted);
  const grid = section.querySelector(".cards");
  const card = (r) => {
    const { setting, sample, marks } = row(r);
    return h("article", { class: "card" },
      h("header", {},
        h("button", { class: "link", onclick: () => open(r) }, data(sampleOf(sample).id)),
        badge(setting.data),
        setting.prompts.map((prompt, k) => h("span", { class: `pair series-${prompts.indexOf(prompt)}`, title: prompt },
          h("span", { class: "swatch" }), glyph(marks[k][0] ? marks[k] : null, setting)))),
      body(r));
  };
  let shown = 0;
  const more = h("button", { class: "more", onclick: () => grow() });
  const grow = () => {
    grid.append(...rows.slice(shown, shown + CARDS).map(card));
    shown = Math.min(rows.length, shown + CARDS);
    more.textContent = `Show more (${count(rows.length - shown)} left)`;
    more.hidden = shown >= rows.length;
  };
  section.append(more);
  grow();
}
