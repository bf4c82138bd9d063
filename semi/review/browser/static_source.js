// The same without a server: rows and sounds are in the page, reviews in the browser until they are
// downloaded in the form of reviews.csv.

function staticSource() {
  const rows = JSON.parse(byId("rows").textContent);
  const place = new Map(rows.map((row, n) => [row.id, n]));
  const log = memory.get(`log ${about.made}`, []);
  const header = ["id", "verdict", "label", "reviewer", "time", "run", "machine_label",
                  "machine_confidence", "pick", "format"]; // prettier-ignore

  function standing() {
    const stacks = [];
    for (const review of log) {
      if (review.reviewer !== state.reviewer) continue;
      if (review.verdict !== "undo") stacks.push(review);
      else {
        const last = stacks.findLastIndex((word) => word.id === review.id);
        if (last >= 0) stacks.splice(last, 1);
      }
    }
    return stacks;
  }

  const own = () => new Map(standing().map((review) => [review.id, review]));
  const progress = () => ({
    reviewed: own().size,
    random: standing().filter((review) => review.pick === "random").length,
    wanted: rows.filter((row) => row.pick === "random").length,
  });
  // a random row that was judged in a filtered list alone is asked once more
  const shown = (row, words) => ({ ...row, own: words.get(row.id) || null,
                                   todo: (words.get(row.id) || {}).pick !== row.pick }); // prettier-ignore

  function isReviewed(row, how) {
    if (how === "any") return true;
    if (how === "todo") return row.todo;
    if (!row.own) return false;
    if (how === "changed") return row.own.verdict === "label" && row.own.label !== row.said;
    return how === "done" || row.own.verdict === how;
  }

  function kept(query) {
    const words = own();
    const wanted = query.q.toLowerCase();
    return rows
      .map((row) => shown(row, words))
      .filter(
        (row) =>
          (!query.machine || row.said === query.machine) &&
          (!query.speaker || row.speaker === query.speaker) &&
          isReviewed(row, query.reviewed) &&
          (!wanted || `${row.id} ${row.text}`.toLowerCase().includes(wanted)),
      );
  }

  function add(review) {
    log.push(review);
    memory.set(`log ${about.made}`, log);
    byId("download").hidden = false;
    return { saved: review, own: own().get(review.id) || null, progress: progress() };
  }

  const bytes = (id) => Uint8Array.from(atob(rows[place.get(id)].mp3), (letter) => letter.charCodeAt(0));
  // as a spreadsheet is kept from running a cell: semi takes the apostrophe off again
  const guarded = (cell) => (/^'*[=+\-@\t\r]/.test(cell) && isNaN(cell) ? `'${cell}` : cell);
  const quoted = (cell) => (/[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell);

  function csv() {
    const lines = log.map((review) => header.map((name) => quoted(guarded(String(review[name] ?? "")))));
    return [header, ...lines].map((cells) => cells.join(",") + "\n").join("");
  }

  byId("download").hidden = log.length === 0;
  byId("download").addEventListener("click", () => {
    const address = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    make("a", { href: address, download: `reviews-${about.name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  });

  return {
    async rows(query, first, length) {
      const found = kept(query);
      const todo = found.findIndex((row) => row.todo);
      return { total: found.length, first, lines: 0, rows: found.slice(first, first + length), todo,
               progress: progress() }; // prettier-ignore
    },
    async row(id) {
      return { ...shown(rows[place.get(id)], own()), others: [], others_hidden: 0 };
    },
    soundAddress: (id) => URL.createObjectURL(new Blob([bytes(id)], { type: "audio/mpeg" })),
    soundBytes: async (id) => bytes(id).buffer,
    async save({ id, verdict, label, query }) {
      const row = rows[place.get(id)];
      const looked = query.machine || query.speaker || query.q; // who filters draws no sample
      const gold = row.role === "labeled"; // what the machine says of it counts nowhere
      return add({
        id, verdict, label: label || "", reviewer: state.reviewer, time: new Date().toISOString(),
        run: about.name, machine_label: gold ? "" : row.said || "",
        machine_confidence: gold ? "" : (row.confidence ?? ""),
        pick: looked && row.pick === "random" ? "browse" : row.pick, format: "1",
      }); // prettier-ignore
    },
    async undo() {
      const last = standing().at(-1);
      if (!last) throw new Error("There is nothing to undo");
      return add({
        id: last.id, verdict: "undo", label: "", reviewer: state.reviewer,
        time: new Date().toISOString(), run: about.name, machine_label: "", machine_confidence: "",
        pick: last.pick, format: "1",
      }); // prettier-ignore
    },
  };
}
