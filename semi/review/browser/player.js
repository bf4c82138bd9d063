// The player: one audio element, a picture of the sound to click into, play on arrival.

const SETTLED = 70; // ms

function createPlayer() {
  const audio = byId("audio");
  const canvas = byId("picture");
  const button = byId("play");
  const cursor = byId("cursor");
  let current = null; // id
  let sound = null; // decoded, to draw again when the page is resized

  function showTime() {
    const length = Number.isFinite(audio.duration) ? audio.duration : 0;
    byId("time").textContent = `${seconds(audio.currentTime)} / ${seconds(length)}`;
    cursor.style.left = `${length ? (100 * audio.currentTime) / length : 0}%`;
    canvas.setAttribute("aria-valuenow", audio.currentTime.toFixed(1));
    canvas.setAttribute("aria-valuemax", length.toFixed(1));
  }

  function follow() {
    showTime();
    if (!audio.paused) requestAnimationFrame(follow);
  }

  function showState() {
    const playing = !audio.paused && !audio.ended;
    button.textContent = playing ? "❚❚ Pause" : "▶ Play";
    if (playing) follow();
  }

  async function play() {
    if (!current) return;
    try {
      await audio.play();
    } catch (error) {
      // browsers let a page play by itself only after a first key or click: no word about that
      if (error.name !== "NotAllowedError" && error.name !== "AbortError") fail("the browser cannot play this sound");
    }
  }

  function fail(sentence) {
    byId("no-sound").textContent = sentence;
    byId("no-sound").hidden = false;
    byId("player").hidden = true;
  }

  const toggle = () => (audio.paused ? play() : audio.pause());
  for (const event of ["play", "pause", "ended", "loadedmetadata", "seeked"]) {
    audio.addEventListener(event, () => (showTime(), showState()));
  }
  button.addEventListener("click", toggle);
  const seek = (to) => (audio.currentTime = Math.min(audio.duration || 0, Math.max(0, to)));
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    seek(((event.clientX - box.left) / box.width) * (audio.duration || 0));
    play();
  });
  canvas.addEventListener("keydown", (event) => {
    const by = { ArrowRight: 0.5, ArrowLeft: -0.5 }[event.key];
    if (by === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    seek(audio.currentTime + by);
  });
  new ResizeObserver(() => sound && drawSound(canvas, sound)).observe(canvas);

  return {
    // Takes up a row: its sound is loaded, drawn and, if wanted, played.
    async open(row) {
      audio.pause();
      if (audio.src.startsWith("blob:")) URL.revokeObjectURL(audio.src);
      current = sound = null;
      byId("player").hidden = !row.sound;
      byId("no-sound").hidden = true;
      if (!row.sound) {
        audio.removeAttribute("src");
        return;
      }
      current = row.id;
      canvas.classList.add("loading");
      await new Promise((done) => setTimeout(done, SETTLED)); // who leafs through hears the last one
      if (current !== row.id) return;
      try {
        const bytes = await source.soundBytes(row.id);
        if (current !== row.id) return;
        audio.src = source.soundAddress(row.id);
        if (state.settings.autoplay) play();
        const found = await decoded(bytes);
        if (current !== row.id) return;
        sound = found;
        drawSound(canvas, sound);
        canvas.classList.remove("loading");
      } catch (error) {
        if (current === row.id || current === null) fail(error.message);
      }
    },
    toggle,
  };
}
