// Sorts tables, plays one clip at a time, shows the rows of a cell, unfolds for paper. The page
// reads and plays without it.
"use strict";
(() => {
  const all = (what, where = document) => [...where.querySelectorAll(what)];

  let playing = null;
  for (const audio of all("td.play audio")) {
    const button = document.createElement("button");
    const name = audio.getAttribute("aria-label");
    const show = () => {
      button.classList.toggle("on", !audio.paused);
      button.setAttribute("aria-label", (audio.paused ? "Play " : "Stop ") + name);
    };
    button.type = "button";
    button.addEventListener("click", () => {
      if (!audio.paused) return audio.pause();
      if (playing && playing !== audio) playing.pause();
      playing = audio;
      audio.currentTime = 0;
      audio.play();
    });
    for (const event of ["play", "pause", "ended"]) audio.addEventListener(event, show);
    audio.controls = false;
    audio.hidden = true;
    audio.before(button);
    show();
  }

  const order = (a, b) => {
    const numbers = [Number(a), Number(b)];
    const both = a !== "" && b !== "" && numbers.every(Number.isFinite);
    return both ? numbers[0] - numbers[1] : a.localeCompare(b);
  };
  for (const table of all("table.rows")) {
    all("thead th:not(.play)", table).forEach((head) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        for (const other of all("[aria-sort]", table)) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const at = head.cellIndex;
        const key = (row) => row.cells[at].dataset.v ?? row.cells[at].textContent;
        const rows = [...table.tBodies[0].rows].sort((x, y) => order(key(x), key(y)));
        table.tBodies[0].append(...(down ? rows.reverse() : rows));
      });
    });
  }

  const filter = document.getElementById("filter");
  const rows = all("#mistakes-table tbody tr");
  const only = (place, words) => {
    for (const row of rows) row.hidden = place !== "" && row.dataset.place !== place;
    filter.hidden = place === "";
    filter.firstElementChild.textContent = words;
  };
  if (filter) filter.lastElementChild.addEventListener("click", () => only("", ""));
  for (const link of all("a[data-place]")) {
    link.addEventListener("click", () => only(link.dataset.place, link.getAttribute("aria-label")));
  }

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details:not([open]):not(.settings)");
    for (const one of folded) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of folded) one.open = false;
  });
})();
