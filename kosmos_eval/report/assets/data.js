// The payload, with names for its places. It is read when the first section that shows any of it comes near.

let payload = null;
let images = null;
let prompts = [];

function readPayload() {
  if (payload !== null) return;
  payload = JSON.parse(byId("payload").textContent);
  images = JSON.parse(byId("images").textContent);
  prompts = payload.prompts;
}

const row = (r) => {
  const [setting, sample, marks, answers] = payload.rows[r];
  return { setting: payload.settings[setting], sample, marks, answers };
};

const sampleOf = (s) => {
  const [id, gold, fields, pictures, candidates, target] = payload.samples[s];
  return { id, gold, fields, pictures, candidates, target };
};

const answerOf = (a) => {
  if (a === null) return null;
  const [prediction, choices, written, error, context, stages, same] = payload.answers[a];
  return { prediction, choices, written, error, context, stages, same };
};

const segmentsOf = (part) => payload.parts[part].map((n) => payload.segments[n]);

// Marks in the order of the report's prompts, null where a setting lacks one.
function markOf(r, prompt) {
  const [setting, , marks] = payload.rows[r];
  const place = payload.settings[setting].prompts.indexOf(prompt);
  return place < 0 || marks[place][0] === "" ? null : marks[place];
}

const isRight = (mark) => mark !== null && (mark[0] === "right" || mark[0] === "part");
const isWrong = (mark) => mark !== null && mark[0] === "wrong";

function picture(reference, alt) {
  const n = payload.pictures[reference];
  if (n < 0) return h("span", { class: "no-picture" }, n === -1 ? "picture not readable" : "picture left out");
  const [src, width, height] = images[n];
  return h("img", { src, width, height, alt, decoding: "async", draggable: "false" });
}

// The choices' shares of their joint probability, from their log-probabilities.
function shares(choices) {
  const most = Math.max(...choices.map(([, logprob]) => logprob));
  const weights = choices.map(([, logprob]) => Math.exp(logprob - most));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

function excerpt(r) {
  const { sample, answers } = row(r);
  const { fields, gold } = sampleOf(sample);
  const named = new Map(fields);
  const text = named.get("question") || named.get("text") || gold[0];
  if (text) return text;
  const answer = answers.map(answerOf).find((found) => found && found.prediction);
  return answer ? answer.prediction : "";
}

const haystacks = new Map();

function haystack(r) {
  if (!haystacks.has(r)) {
    const { setting, sample, answers } = row(r);
    const { id, gold, fields } = sampleOf(sample);
    const parts = [setting.task, id, ...gold, ...fields.map(([, value]) => value)];
    for (const answer of answers.map(answerOf)) {
      if (answer) parts.push(answer.prediction || "", answer.error || "", ...answer.written.map(([, text]) => text));
    }
    haystacks.set(r, parts.join("\n").toLowerCase());
  }
  return haystacks.get(r);
}
