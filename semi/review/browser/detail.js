// All about one utterance: what the machine said of it and why, and the buttons to judge it by.

const ROLES = {
  pool: "unlabelled",
  labeled: "label given in the table",
  dev: "held out: dev",
  test: "held out: test",
  unused: "not used",
};
const REASONS = {
  chosen: "chosen",
  below_threshold: "not sure enough",
  over_quota: "its class was full",
  disagreement: "votes disagree",
  uncertain: "uncertain",
  not_certified: "not certified",
  noisy: "looks noisy",
  isolated: "unlike its neighbours",
};

const isHidden = (row) => state.settings.blind && !row.own;

function showDetail(row) {
  byId("empty").hidden = true;
  byId("shown").hidden = false;
  byId("id").textContent = row.id;
  showBadges(row);
  byId("text").textContent = row.text;
  byId("text").hidden = !row.text;
  byId("text").classList.toggle("large", !row.sound);
  showLabels(row);
  showWords(row);
  showWhy(row);
  showVotes(row);
  showHistory(row);
}

function showBadges(row) {
  const badges = [[ROLES[row.role] || row.role, row.role === "dev" || row.role === "test" ? "held" : ""]];
  if (row.speaker) badges.push([`speaker ${row.speaker}`]);
  if (row.first_round >= 1) badges.push([`learned since round ${row.first_round}`]);
  if (row.flips > 0) badges.push([several(row.flips, "flip"), "warn"]);
  if (row.disputed) badges.push(["modalities disagree", "warn"]);
  for (const [queue, why] of Object.entries(row.why)) badges.push([`${queue}: ${why}`, "warn"]);
  byId("badges").replaceChildren(...badges.map(([text, kind]) => make("li", { class: kind || null }, text)));
}

function showLabels(row) {
  const hidden = isHidden(row);
  const chosen = new Set(row.own && row.own.verdict === "label" ? row.own.label.split(";") : state.marked);
  const said = new Set((row.said || "").split(";"));
  const buttons = about.classes.map((name, k) => {
    const probability = hidden ? null : row.probs[k];
    const before = hidden ? null : row.raw[k];
    const bar = make("span", { class: "bar", "aria-hidden": "true" }, make("i"), make("u"));
    bar.children[0].style.width = `${100 * (probability || 0)}%`;
    bar.children[1].style.left = `${100 * (before || 0)}%`;
    bar.children[1].hidden = before === null;
    const machine = !hidden && said.has(name);
    return make(
      "button",
      { type: "button", class: "label" + (chosen.has(name) ? " chosen" : "") + (machine ? " machine" : ""),
        "aria-pressed": String(chosen.has(name)), onclick: () => act(() => judgeClass(k)) },
      make("kbd", {}, keyOfClass(k)),
      make("span", { class: "class" }, name, machine ? make("small", {}, row.chosen ? " learned" : " machine") : null),
      bar,
      make("span", { class: "number" }, hidden ? "" : percent(probability)),
    ); // prettier-ignore
  });
  byId("labels").replaceChildren(...buttons);
  if (!about.classes.length) byId("labels").replaceChildren(make("p", {}, "This run measures valence and arousal and has no classes: say whether a row can be used."));
  const anyBefore = !hidden && row.raw.some((value) => value !== null);
  byId("legend").textContent = hidden
    ? "What the machine says is hidden until you have said something."
    : (row.seen ? "Bar: probability that the rule saw, calibrated." : "Bar: probability, calibrated.") +
      (anyBefore ? " Tick: before calibration." : "");
  byId("save-marked").hidden = !about.several;
  for (const verdict of ["unsure", "bad_audio"]) {
    byId(verdict).setAttribute("aria-pressed", String(Boolean(row.own && row.own.verdict === verdict)));
  }
}

// What was said of the row: by oneself, in the table, by others.
function showWords(row) {
  const lines = [];
  if (row.own) lines.push(`You said ${verdictWords(row.own)}.`);
  if (row.given) lines.push(`The table says ${row.given}.`);
  for (const word of row.others) lines.push(`${word.reviewer || "somebody"} said ${verdictWords(word)}.`);
  if (row.others_hidden) {
    lines.push(`${several(row.others_hidden, "other reviewer")} judged this: shown after your own word.`);
  }
  byId("words").replaceChildren(...lines.map((line) => make("li", {}, line)));
}

function showWhy(row) {
  const hidden = isHidden(row);
  byId("why").hidden = hidden;
  if (hidden) return;
  const parts = [];
  const strong = (text) => make("strong", {}, text);
  if (row.role === "pool" && row.said && row.history.length) {
    parts.push(row.chosen ? "Learned as " : "Would be ", strong(row.said), `, ${percent(row.confidence)} sure`);
    if (!row.chosen) parts.push(`; not learned from: ${REASONS[row.reason] || row.reason || "no round shipped"}`);
  } else if (row.said) {
    parts.push("The machine says ", strong(row.said), `, ${percent(row.confidence)} sure`);
    if (row.role === "labeled") parts.push("; its models did not see this label");
  } else if (about.classes.length) parts.push("The machine said nothing of this row");
  if (row.now && row.now.label !== row.said) {
    parts.push(". The model that ships says ", strong(row.now.label), `, ${percent(row.now.confidence)}`);
  } else if (row.margin !== null && !about.several) {
    parts.push(`; ${Math.round(100 * row.margin)} points before the next class`);
  }
  for (const [name, value] of Object.entries(row.affect)) {
    parts.push(parts.length ? `; ${name} ` : `The machine says ${name} `, strong(value.toFixed(2)));
  }
  byId("sentence").replaceChildren(...parts, ".");
}

function showVotes(row) {
  byId("votes-part").hidden = isHidden(row) || row.votes.length === 0;
  byId("votes").replaceChildren(
    ...row.votes.map((vote) =>
      make(
        "tr",
        { class: vote.label === row.said ? null : "against" },
        make("th", { scope: "row" }, vote.modality),
        make("td", {}, vote.label),
        make("td", { class: "right" }, percent(vote.confidence)),
      ),
    ),
  );
}

function showHistory(row) {
  byId("history-part").hidden = isHidden(row) || row.history.length === 0;
  byId("history").replaceChildren(
    ...row.history.map((entry, n) => {
      const before = n > 0 ? row.history[n - 1].label : entry.label;
      return make(
        "tr",
        { class: entry.label === before ? null : "against" },
        make("th", { scope: "row" }, String(entry.round)),
        make("td", {}, entry.label ?? "–"),
        make("td", { class: "right" }, percent(entry.confidence)),
        make("td", {}, entry.chosen ? (entry.accepted ? "learned" : "chosen, round refused") : REASONS[entry.reason] || entry.reason),
      );
    }),
  );
}
