// The filters above the list: their fields are the query, and they are kept while the tab is open.

const FIELDS = ["order", "descending", "part", "machine", "speaker", "round", "chosen", "flipped",
                "contradicted", "margin", "reviewed", "q"]; // prettier-ignore
const field = (name) => byId(name === "reviewed" ? "reviewed-by-me" : name);

function createFilters(changed) {
  const form = byId("filters");
  const fill = (name, values, titles) =>
    byId(name).append(...values.map((value, n) => make("option", { value }, titles ? titles[n] : value)));
  fill("machine", about.classes);
  byId("speakers").append(...about.speakers.map((value) => make("option", { value })));
  fill("round", about.rounds.map(String), about.rounds.map((number) => `round ${number}`));
  for (const option of [...byId("order").options]) {
    const lacking = ["next", "suspects"].includes(option.value) && !about.queues.includes(option.value);
    if (lacking) option.remove();
  }

  let timer = 0;
  const query = () => Object.fromEntries(FIELDS.map((name) => [name, field(name).value.trim()]));
  function take() {
    try {
      sessionStorage.setItem("semi-review query", JSON.stringify(query()));
    } catch {
      // not remembered then
    }
    const active = FIELDS.slice(3).filter((name) => field(name).value !== field(name).dataset.plain).length;
    byId("active").textContent = active ? ` (${active})` : "";
    changed(query());
  }
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("change", (event) => {
    if (event.target.id === "order" && event.target.value === "suspects") byId("part").value = "labeled";
    if (event.target.id === "order" && ["next", "recommended"].includes(event.target.value)) byId("part").value = "pool";
    clearTimeout(timer);
    take();
  });
  byId("q").addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(take, 200);
  });
  byId("reset").addEventListener("click", () => {
    for (const name of FIELDS) field(name).value = field(name).dataset.plain;
    take();
  });

  try {
    const kept = JSON.parse(sessionStorage.getItem("semi-review query")) || {};
    for (const name of FIELDS) if (name in kept) field(name).value = kept[name];
  } catch {
    // begin with all plain
  }
  for (const name of FIELDS) if (field(name).selectedIndex === -1) field(name).value = field(name).dataset.plain;
  return { take, query };
}
