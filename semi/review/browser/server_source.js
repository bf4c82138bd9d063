// Where rows, sounds and reviews come from: the server on this machine.

function serverSource() {
  const token = new URLSearchParams(location.search).get("token") || "";
  const headers = { "X-Review-Token": token };

  async function ask(path, options = {}) {
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...headers, ...options.headers } });
    } catch {
      throw new Error("The server does not answer: is semi review still running in the terminal?");
    }
    if (response.ok) return response;
    let sentence = `status ${response.status}`;
    try {
      sentence = (await response.json()).error || sentence;
    } catch {
      // no JSON: the status has to do
    }
    throw new Error(sentence);
  }

  const send = async (path, value) =>
    (
      await ask(path, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(value),
      })
    ).json();

  return {
    async rows(query, first, length, lines) {
      const asked = new URLSearchParams({ ...query, reviewer: state.reviewer, first, length });
      if (lines !== null) asked.set("lines", lines);
      return (await ask(`/api/rows?${asked}`)).json();
    },
    async row(id) {
      const asked = new URLSearchParams({ id, reviewer: state.reviewer });
      if (state.settings.others) asked.set("others", "yes");
      return (await ask(`/api/row?${asked}`)).json();
    },
    soundAddress: (id) => `/audio?${new URLSearchParams({ id, token })}`,
    soundBytes: async (id) => (await ask(`/audio?${new URLSearchParams({ id })}`)).arrayBuffer(),
    save: (review) => send("/api/reviews", { ...review, reviewer: state.reviewer }),
    undo: () => send("/api/undo", { reviewer: state.reviewer }),
  };
}
