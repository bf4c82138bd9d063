// Keys: one each for what is done a thousand times. None while one types, or with Ctrl, Alt, Meta.

function listenToKeys(player, list) {
  const keys = {
    " ": () => player.toggle(),
    j: () => list.step(1),
    ArrowDown: () => list.step(1),
    ArrowRight: () => list.step(1),
    k: () => list.step(-1),
    ArrowUp: () => list.step(-1),
    ArrowLeft: () => list.step(-1),
    u: () => act(() => judge("unsure")),
    b: () => act(() => judge("bad_audio")),
    z: () => act(undo, ""),
    Enter: () => about.several && act(saveMarked),
    "/": () => openSearch(),
    "?": () => byId("help-dialog").showModal(),
  };

  function openSearch() {
    showSide("list");
    byId("q").focus();
    byId("q").select();
  }

  document.addEventListener("keydown", (event) => {
    const target = event.target;
    const typing = target.matches("input, textarea, select");
    if (event.key === "Escape" && typing) return target.blur();
    if (event.ctrlKey || event.altKey || event.metaKey || typing || document.querySelector("dialog[open]")) return;
    // a focused button or summary answers to space and Enter by itself
    if ((event.key === " " || event.key === "Enter") && target.matches("button, summary, a")) return;
    const place = about.classes.findIndex((_, k) => keyOfClass(k) === event.key);
    const action = place >= 0 ? () => act(() => judgeClass(place)) : keys[event.key];
    if (!action || (event.repeat && !["j", "k", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowRight"].includes(event.key))) return;
    event.preventDefault();
    action();
  });
}
