// The list: of 100,000 rows only those in sight are elements; a hundred are asked for at a time.

const ROW = 56; // pixels, as in the style
const CHUNK = 100; // rows
const TALLEST = 8_000_000; // pixels that every browser scrolls through

function createList(root, choose) {
  const inner = make("div", { class: "inner", role: "presentation" });
  root.append(inner);
  let rows = new Map(); // place -> row
  let asked = new Set(); // chunks that are here or on their way
  let total = 0;
  let lines = null; // of reviews.csv when the list was made: it keeps its rows while one works
  let query = null;
  let generation = 0;
  let selected = -1;
  let waiting = false;

  // Where all rows do not fit into a scrolled height, places are stretched over what there is.
  const height = () => Math.min(total * ROW, TALLEST);
  const spare = () => Math.max(1, height() - root.clientHeight);
  const stretch = () => (total * ROW > TALLEST ? (total * ROW - root.clientHeight) / spare() : 1);

  async function load(chunk) {
    if (asked.has(chunk)) return;
    asked.add(chunk);
    const mine = generation;
    try {
      const answer = await source.rows(query, chunk * CHUNK, CHUNK, lines);
      if (mine !== generation) return;
      answer.rows.forEach((row, n) => rows.set(chunk * CHUNK + n, row));
      draw();
    } catch (error) {
      asked.delete(chunk);
      if (mine === generation) tell(error.message, true);
    }
  }

  function draw() {
    const virtual = root.scrollTop * stretch();
    const first = Math.max(0, Math.floor(virtual / ROW) - 4);
    const last = Math.min(total, Math.ceil((virtual + root.clientHeight) / ROW) + 4);
    inner.style.height = `${height()}px`;
    const elements = [];
    for (let place = first; place < last; place++) {
      if (!rows.has(place)) load(Math.floor(place / CHUNK));
      const element = drawRow(rows.get(place), place);
      element.style.top = `${place * ROW - virtual + root.scrollTop}px`;
      elements.push(element);
    }
    inner.replaceChildren(...elements);
    const current = selected >= first && selected < last ? `row-${selected}` : null;
    if (current) root.setAttribute("aria-activedescendant", current);
    else root.removeAttribute("aria-activedescendant");
  }

  function drawRow(row, place) {
    const element = make("div", {
      class: "row", role: "option", id: `row-${place}`, "aria-selected": String(place === selected),
      "aria-setsize": total, "aria-posinset": place + 1, onclick: () => select(place),
    }); // prettier-ignore
    if (!row) {
      element.append(make("span", { class: "waiting" }, "…"));
      return element;
    }
    const said = row.said || "nothing said";
    const machine = state.settings.blind && !row.own ? "hidden" : said;
    const sure = state.settings.blind && !row.own ? "" : percent(row.confidence);
    const changed = row.own && row.own.verdict === "label" && row.own.label !== row.said;
    element.append(
      make("span", { class: "dot" + (row.own ? (changed ? " changed" : " done") : ""), "aria-hidden": "true" }),
      make("span", { class: "name" }, row.id),
      make("span", { class: "machine" }, machine, row.own ? make("b", {}, changed || row.own.verdict !== "label" ? ` → ${verdictWords(row.own)}` : " ✓") : ""),
      make("span", { class: "text" }, row.text || (row.sound ? "" : "no sound, no text")),
      make("span", { class: "sure" }, sure),
    );
    return element;
  }

  function select(place) {
    if (place < 0 || place >= total) return false;
    selected = place;
    const top = place * ROW - root.scrollTop * stretch();
    if (top < 0 || top + ROW > root.clientHeight) {
      const wanted = top < 0 ? place * ROW : (place + 1) * ROW - root.clientHeight;
      root.scrollTop = wanted / stretch();
    }
    draw();
    const row = rows.get(place);
    if (row) choose(row);
    else load(Math.floor(place / CHUNK)).then(() => rows.has(place) && selected === place && choose(rows.get(place)));
    return true;
  }

  root.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  });
  new ResizeObserver(draw).observe(root);

  return {
    // Shows another list; returns its first answer, null where a newer list was asked for meanwhile.
    async show(newQuery) {
      const mine = ++generation;
      const answer = await source.rows(newQuery, 0, CHUNK, null);
      if (mine !== generation) return null;
      query = newQuery;
      rows = new Map(answer.rows.map((row, n) => [n, row]));
      asked = new Set([0]);
      total = answer.total;
      lines = answer.lines;
      selected = -1;
      root.scrollTop = 0;
      draw();
      return answer;
    },
    select,
    step: (by) => select(selected + by),
    // Goes to the next row that is still to do among those that are here, else to the next one.
    advance() {
      for (let place = selected + 1; rows.has(place); place++) {
        if (rows.get(place).todo) return select(place);
      }
      return select(selected + 1);
    },
    // Takes over what was just said of a row; returns its place, -1 where it is not here.
    update(id, word) {
      for (const [place, row] of rows) {
        if (row.id !== id) continue;
        row.own = word;
        row.todo = !word;
        draw();
        return place;
      }
      return -1;
    },
    draw,
    get place() {
      return selected;
    },
    get total() {
      return total;
    },
  };
}
