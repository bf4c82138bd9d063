// The page at work: which row is open, who judges, what is done with a key.

const state = {
  reviewer: about.reviewer || memory.get("reviewer", ""),
  settings: { autoplay: true, blind: false, others: false, ...memory.get("settings", {}) },
  row: null, // the open one
  opening: null, // a promise: the row that was chosen last is shown
  marked: new Set(), // classes marked so far, where a row may have several
};
const source = about.fixed ? staticSource() : serverSource();
const player = createPlayer();
const list = createList(byId("list"), open);
const filters = createFilters(show);

// Actions wait for each other, so that a quick second key counts for the row that comes next. Where
// one fails, those that were waiting are dropped: they were meant for rows that did not come.
let line = Promise.resolve();
let failures = 0;
function act(action, failed = "Not saved: ") {
  const before = failures;
  line = line.then(async () => {
    if (before !== failures) return;
    try {
      await action();
    } catch (error) {
      failures += 1;
      tell(failed + error.message, true);
    }
  });
  return line;
}

// A list, too, waits for what was pressed before, and keys wait for the list.
function show(query) {
  line = line.then(() => showList(query));
}

async function showList(query) {
  try {
    const answer = await list.show(query);
    if (!answer) return;
    byId("count").textContent = several(answer.total, "utterance");
    showProgress(answer.progress);
    byId("list-empty").hidden = answer.total > 0;
    if (answer.total) list.select(Math.max(0, answer.todo));
  } catch (error) {
    tell(error.message, true);
  }
}

function showProgress({ reviewed, random, wanted, precision }) {
  byId("reviewed").textContent = several(reviewed, "review");
  byId("random").textContent = `random ${Math.min(random, wanted)} of ${wanted}`;
  byId("random-bar").value = random;
  byId("random-bar").max = wanted || 1;
  byId("precision").textContent = precision ? `pseudo-labels: ${precision}` : "";
}

// Opens a row of the list; `state.opening` is done when it is shown.
function open(listed) {
  state.marked = new Set();
  state.row = null; // no key counts for a row that is not yet shown
  const mine = (state.opening = load());
  async function load() {
    try {
      const row = await source.row(listed.id);
      if (mine !== state.opening) return;
      state.row = row;
      showDetail(row);
      byId("place").textContent = `${(list.place + 1).toLocaleString("en")} of ${list.total.toLocaleString("en")}`;
      player.open(row);
    } catch (error) {
      if (mine === state.opening) tell(error.message, true);
    }
  }
}

async function judge(verdict, label = "") {
  await state.opening;
  const row = state.row;
  if (!row) return;
  if (!state.reviewer) await askName();
  const answer = await source.save({ id: row.id, verdict, label, query: filters.query() });
  settle(row.id, answer);
  const random = answer.saved.pick === "random" ? ", a random pick" : "";
  tell(`${row.id}: ${label || words[verdict]} – saved${random}`);
  if (state.row === row && !list.advance()) reopen();
}

async function judgeClass(place) {
  const name = about.classes[place];
  if (!about.several) return judge("label", name);
  await state.opening;
  if (!state.row) return;
  if (state.row.own && state.row.own.verdict === "label" && !state.marked.size) {
    state.marked = new Set(state.row.own.label.split(";"));
  }
  state.row = { ...state.row, own: null };
  if (!state.marked.delete(name)) state.marked.add(name);
  showLabels(state.row);
}

async function saveMarked() {
  if (!state.marked.size) return tell("Mark at least one label first; then Enter saves");
  await judge("label", about.classes.filter((name) => state.marked.has(name)).join(";"));
}

async function undo() {
  if (!state.reviewer) return tell("There is nothing to undo");
  const answer = await source.undo();
  const place = settle(answer.saved.id, answer);
  tell(`${answer.saved.id}: taken back`);
  if (place >= 0) list.select(place);
  else open({ id: answer.saved.id });
}

function settle(id, answer) {
  showProgress(answer.progress);
  return list.update(id, answer.own);
}

function reopen() {
  if (state.row) open(state.row);
}

// --- who judges, and settings ---

function askName() {
  const dialog = byId("name-dialog");
  byId("name").value = state.reviewer;
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => done(), { once: true });
  }).then(() => {
    if (!state.reviewer) throw new Error("a review needs a name");
  });
}

byId("name-form").addEventListener("submit", () => {
  state.reviewer = byId("name").value.trim().replace(/\s+/g, " ");
  memory.set("reviewer", state.reviewer);
  byId("who").textContent = state.reviewer || "no name";
  filters.take();
});
byId("who").addEventListener("click", () => askName().catch(() => {}));
for (const name of ["autoplay", "blind", "others"]) {
  byId(name).checked = state.settings[name];
  byId(name).addEventListener("change", () => {
    state.settings[name] = byId(name).checked;
    memory.set("settings", state.settings);
    list.draw();
    if (name !== "autoplay") reopen();
  });
}

// --- buttons ---

function showSide(name) {
  document.body.dataset.side = name;
  byId("to-list").setAttribute("aria-expanded", String(name === "list"));
}
byId("to-list").addEventListener("click", () => showSide(document.body.dataset.side === "list" ? "clip" : "list"));
byId("list").addEventListener("click", (event) => event.target.closest(".row") && showSide("clip"));
byId("unsure").addEventListener("click", () => act(() => judge("unsure")));
byId("bad_audio").addEventListener("click", () => act(() => judge("bad_audio")));
byId("undo").addEventListener("click", () => act(undo, ""));
byId("save-marked").addEventListener("click", () => act(saveMarked));
byId("before").addEventListener("click", () => list.step(-1));
byId("after").addEventListener("click", () => list.step(1));
byId("help").addEventListener("click", () => byId("help-dialog").showModal());
byId("close-help").addEventListener("click", () => byId("help-dialog").close());

byId("who").textContent = state.reviewer || "no name";
listenToKeys(player, list);
if (state.reviewer) filters.take();
else askName().catch(() => filters.take()); // who closes the question may listen all the same
