// One sample: its pictures, what was asked, what was answered, by prompt.

function detail(r) {
  const { setting, sample, marks, answers } = row(r);
  const found = sampleOf(sample);
  const hide = (node) => veil(node, sample, setting.sensitive);
  const facts = [
    ...found.gold.length ? [["gold", found.gold]] : [],
    ...found.fields.filter(([name]) => name !== "rationale").map(([name, value]) => [name, [value]]),
    ...found.fields.filter(([name]) => name === "rationale").map(([, value]) => ["rationale", [value]]),
  ];
  return [
    h("header", { class: "detail-head" },
      h("h3", {}, data(setting.task), " ", data(found.id, { class: "id" }), " ", badge(setting.data)),
      h("p", { class: "muted" }, `${setting.shots}-shot · ${setting.demos} demonstrations · seed ${setting.seed} · `,
        data(setting.split), " · ", data(setting.model))),
    h("div", { class: "query" },
      found.candidates.length ? puzzle(r) : null,
      !found.candidates.length && found.pictures.length
        ? hide(h("div", { class: "pictures" }, found.pictures.map((p, k) => picture(p, `picture ${k + 1} of the sample`))))
        : null,
      hide(h("dl", { class: "facts" }, facts.map(([name, values]) => [
        h("dt", {}, data(name)),
        h("dd", { class: name === "gold" ? "gold" : null }, values.map((value) => h("div", {}, data(value)))),
      ])))),
    h("div", { class: "answers" }, setting.prompts.map((prompt, k) => {
      const answer = answerOf(answers[k]);
      return h("section", { class: `answer series-${prompts.indexOf(prompt)}` },
        h("h4", {}, h("span", { class: "swatch" }), data(prompt), glyph(marks[k][0] ? marks[k] : null, setting)),
        answer === null
          ? h("p", { class: "muted" }, "not on record")
          : told(answer, found, payload.runs[setting.runs[k]], hide));
    })),
  ];
}

function told(answer, sample, run, hide) {
  if (answer.error) return [h("p", { class: "error" }, data(answer.error)), prompted(answer, run, hide)];
  return [
    answer.choices.length ? probabilities(answer, sample) : hide(h("p", { class: "prediction" }, data(answer.prediction))),
    ...answer.written.slice(0, answer.choices.length ? undefined : -1).map(([name, text, finish]) =>
      h("div", { class: "written" },
        h("h5", {}, data(name), finish === "length" ? h("span", { class: "muted" }, " (cut off)") : null),
        hide(h("p", {}, data(text.trim() || "(nothing)"))))),
    prompted(answer, run, hide),
  ];
}

function probabilities(answer, sample) {
  const target = sample.target === null ? null : sample.target.trim();
  return h("ol", { class: "choices" }, answer.choices.map(([name, logprob], k) => {
    const share = shares(answer.choices)[k];
    const shown = name.trim();
    const bar = h("span", { class: "bar" });
    bar.style.width = `${100 * share}%`;
    const kind = [shown === target ? "is-gold" : "", shown === answer.prediction ? "is-chosen" : ""].join(" ");
    return h("li", { class: kind, title: `log-probability ${number(logprob, 3)}` },
      data(shown, { class: "name" }),
      h("span", { class: "track" }, bar),
      h("span", { class: "share" }, `${number(100 * share, 1)} %`),
      h("span", { class: "tag" }, shown === target ? "gold" : ""));
  }));
}

// --- the prompt ---

function prompted(answer, run, hide) {
  const stages = run.template.stages;
  if (answer.stages === null) {
    const why = run.missing || "the sample is not in the data any more";
    return h("details", { class: "prompt" }, h("summary", {}, "Prompt: not made again"),
      h("p", { class: "muted" }, data(why)),
      h("p", { class: "muted" }, "Its template:"),
      stages.map((stage) => h("p", { class: "segment-text" }, data(stage.ask))));
  }
  const demos = payload.contexts[answer.context];
  const written = new Map(answer.written.map(([name, text]) => [name, text]));
  const status = answer.same
    ? h("span", { class: "muted" }, " as asked (hash checked)")
    : h("span", { class: "error" }, " differs from what was asked: the data have changed since");
  return h("details", { class: "prompt", open: true },
    h("summary", {}, "Prompt", demos.length ? `, ${demos.length} demonstration${demos.length > 1 ? "s" : ""}` : "", status),
    hide(h("div", { class: "sequence" },
      demos.map(([id, part], k) =>
        h("div", { class: "demo" }, h("span", { class: "label" }, `demonstration ${k + 1}: `, data(id)), segments(part, written))),
      answer.stages.map((part, k) =>
        h("div", { class: "stage" }, h("span", { class: "label" }, stageLabel(stages[k], k)), segments(part, written),
          k < answer.written.length ? h("span", { class: "output" }, data(answer.written[k][1])) : choiceText(stages[k]))))));
}

function stageLabel(stage, k) {
  const notes = [`stage ${k + 1}`];
  if (k && stage.context === "fresh") notes.push("begins again after the demonstrations");
  if (stage.image === "drop") notes.push("without pictures");
  return notes.join(", ");
}

function choiceText(stage) {
  const scored = stage.score;
  const text = scored === "answers" || scored.texts ? "⟨each answer in turn⟩" : `⟨${scored.choice}${scored.target} for each candidate⟩`;
  return h("span", { class: "slot" }, data(text));
}

function segments(part, written) {
  return segmentsOf(part).map(([kind, content]) => {
    if (kind === "image") return picture(content, "picture in the prompt");
    if (kind === "output") return h("span", { class: "output" }, data(written.get(content) || ""));
    return data(content, { class: kind === "tag" ? "special" : "segment-text" });
  });
}
