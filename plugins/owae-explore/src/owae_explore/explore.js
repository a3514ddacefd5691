// The page of `owae explore`: where one is in the latents, and what the server says is there.
"use strict";

(() => {
  const $ = (id) => document.getElementById(id);
  const about = JSON.parse($("about").textContent);
  const depth = about.dimensions.length;
  const subscript = (number) => String(number).replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]);
  const name = (level) => `z${subscript(level)}`;
  const seed = () => Math.floor(Math.random() * 2 ** 32);
  const state = { level: depth, z: null, plane: null, noise: {}, surface: null, shown: null, a: null, b: null, walk: null };

  async function answer(path, body, kind) {
    const sent = await fetch(path, { method: "POST", body, headers: { "Content-Type": kind } });
    const found = await sent.json();
    if (!sent.ok) throw new Error(found.error || sent.statusText);
    return found;
  }
  const ask = (what, question) => answer(`/ask/${what}`, JSON.stringify(question), "application/json");

  // Runs what a control asks for; what goes wrong stands below the plane.
  const doing = (work) => async (...given) => {
    document.body.dataset.busy = Number(document.body.dataset.busy || 0) + 1;
    try {
      $("said").textContent = "";
      await work(...given);
    } catch (error) {
      $("said").textContent = error.message;
    } finally {
      document.body.dataset.busy = Number(document.body.dataset.busy) - 1;
    }
  };

  function show(canvas, event) {
    about.picture ? showPicture(canvas, event, about.picture) : showLine(canvas, event, about.values);
    canvas.classList.toggle("pixels", Boolean(about.picture));
  }

  // One picture of a ladder, made once and drawn again.
  function rung(ladder, key, caption) {
    let figure = ladder.querySelector(`[data-key="${key}"]`);
    if (!figure) {
      figure = document.createElement("figure");
      figure.dataset.key = key;
      if (!about.picture) figure.className = "lines";
      figure.append(document.createElement("canvas"), document.createElement("figcaption"));
      ladder.append(figure);
    }
    figure.querySelector("figcaption").textContent = caption;
    return figure;
  }

  function button(text, act) {
    const made = document.createElement("button");
    made.textContent = text;
    made.addEventListener("click", doing(act));
    return made;
  }

  // Moves that come while one is computed are left out but for the last.
  let computing = false;
  let again = false;
  const look = doing(async () => {
    again = true;
    if (computing) return;
    computing = true;
    try {
      while (again) {
        again = false;
        const words = (state.z.length <= 4 ? state.z : state.at).map((value) => value.toFixed(2)).join(", ");
        $("plane-place").textContent = `${name(state.level)}${state.z.length <= 4 ? " =" : ", in s.d. along the plane:"} ${words}`.replaceAll("-", "−");
        const found = await ask("descend", { level: state.level, z: state.z, noise: state.noise });
        show($("plane-picture"), found.events.at(-1));
        found.events.forEach((event, i) => show(rung($("ladder"), state.level - i, "").querySelector("canvas"), event));
        captions();
      }
    } finally {
      computing = false;
    }
  });

  function captions() {
    for (let level = state.level; level >= 1; level--) {
      const figure = rung($("ladder"), level, "");
      const caption = figure.querySelector("figcaption");
      if (level === state.level) {
        caption.textContent = `${name(level)}, where you are`;
        continue;
      }
      const drawn = state.noise[level] !== undefined && state.noise[level] !== null;
      caption.textContent = `${name(level)}, ${drawn ? "with noise" : "its mean"} `;
      const hold = button(drawn ? "Mean" : "Mean held", () => ((state.noise[level] = null), look()));
      hold.setAttribute("aria-pressed", String(!drawn));
      caption.append(document.createElement("br"), hold, button("Draw", () => ((state.noise[level] = seed()), look())));
    }
  }

  // The plane through where one is, and its sheet.
  async function cut(through) {
    const pair = [Number($("first").value), Number($("second").value)];
    const plane = await ask("plane", { level: state.level, kind: $("kind").value, pair, through });
    state.plane = plane;
    const { columns, rows, centre, axes, place } = plane;
    $("sheet").hidden = !plane.sheet;
    $("plane-map").classList.toggle("empty", !plane.sheet);
    $("plane").classList.toggle("strip", rows === 1);
    if (plane.sheet) {
      $("sheet").src = plane.sheet;
      await $("sheet").decode();
    }
    const chosen = (column, row) => {
      const at = [along(column, columns), -along(row, rows)];
      state.z = centre.map((value, i) => axes.reduce((sum, axis, k) => sum + at[k] * axis[i], value));
      state.at = at.slice(0, axes.length).map((value) => 2 * value);
      look();
    };
    state.surface = state.surface || choose($("plane-map"), { columns, rows }, (...at) => state.chosen(...at));
    Object.assign(state.surface.grid, { columns, rows });
    state.chosen = chosen;
    const cell = (value, cells) => ((value + 1) / 2) * (cells - 1);
    state.surface.move(cell(place[0], columns), rows > 1 ? cell(-place[1], rows) : 0);
    if (through) {
      state.z = through; // outside the sheet, too
      look();
    }
  }

  function levels() {
    state.noise = {};
    $("ladder").replaceChildren();
    const count = about.dimensions[state.level - 1];
    for (const [id, start] of [["first", 0], ["second", 1]]) {
      $(id).replaceChildren(...Array.from({ length: Math.min(count, 256) }, (_, i) => new Option(i + ($("kind").value === "principal" ? 1 : 0), i)));
      $(id).value = Math.min(start, count - 1);
      $(id).hidden = count === 1 && id === "second";
    }
    $("draw").hidden = state.level !== depth;
  }

  function rebuilt(found) {
    state.shown = found;
    $("rebuilt").replaceChildren();
    found.events.forEach((event, level) => {
      const caption = level ? `through ${name(level)}, squared error ${found.errors[level - 1].toPrecision(3)}` : "the example";
      show(rung($("rebuilt"), `rebuilt-${level}`, caption).querySelector("canvas"), event);
    });
    $("use").hidden = false;
  }

  const along_path = (codes, share) => {
    const at = share * (codes.length - 1);
    const from = Math.min(Math.floor(at), codes.length - 2);
    return codes.length > 1 ? codes[from].map((value, i) => value + (at - from) * (codes[from + 1][i] - value)) : codes[0];
  };
  const on = (id, event, act) => $(id).addEventListener(event, doing(act));
  const travel = (codes, share) => ((state.z = along_path(codes, share)), look());

  for (let level = depth; level >= 1; level--) $("level").append(new Option(`${name(level)}, ${about.dimensions[level - 1]}-D`, level));
  on("level", "change", async () => {
    state.level = Number($("level").value);
    levels();
    await cut(null);
  });
  on("kind", "change", () => (levels(), cut(state.z)));
  for (const id of ["first", "second"]) on(id, "change", () => cut(state.z));
  on("middle", "click", () => cut(null));
  on("draw", "click", async () => cut((await ask("draw", { seed: seed() })).z));
  on("all-draw", "click", () => {
    for (let level = 1; level < state.level; level++) state.noise[level] = seed();
    return look();
  });
  on("all-hold", "click", () => ((state.noise = {}), look()));

  $("examples").hidden = !about.examples && !about.picture;
  $("walking").hidden = !about.classes.length;
  if (about.examples || about.picture) {
    $("held-out").hidden = $("other").hidden = !about.examples;
    $("own-label").hidden = $("drop").hidden = !about.picture;
    $("example").max = about.examples - 1;
    const example = async () => rebuilt(await ask("example", { place: Number($("example").value) }));
    const own = async (file) => file && rebuilt(await answer("/own", file, "application/octet-stream"));
    on("example", "change", example);
    on("other", "click", () => (($("example").value = Math.floor(Math.random() * about.examples)), example()));
    on("own", "change", () => own($("own").files[0]));
    for (const kind of ["dragover", "dragleave", "drop"]) {
      $("drop").addEventListener(kind, (event) => {
        event.preventDefault();
        $("drop").classList.toggle("over", kind === "dragover");
      });
    }
    on("drop", "drop", (event) => own(event.dataTransfer.files[0]));
    on("start", "click", () => cut(state.shown.codes[state.level - 1]));
    for (const [id, end] of [["as-a", "a"], ["as-b", "b"]]) {
      on(id, "click", () => {
        state[end] = state.shown.codes;
        $("between").hidden = !(state.a && state.b);
      });
    }
    on("path", "input", () => travel([state.a[state.level - 1], state.b[state.level - 1]], Number($("path").value)));
    on("path", "change", () => cut(state.z));
  }
  if (about.classes.length) {
    $("label").append(...about.classes.map(([label, text]) => new Option(text, label)));
    on("walk", "click", async () => {
      const found = await ask("walk", { level: state.level, label: Number($("label").value) });
      state.walk = { level: state.level, codes: found.codes };
      $("stroll").hidden = false;
      $("steps").value = 0;
      await cut(found.codes[0]);
    });
    on("steps", "input", () => {
      if (state.walk.level !== state.level) throw new Error("The walk was in another level; press Walk again.");
      return travel(state.walk.codes, Number($("steps").value));
    });
    on("steps", "change", () => cut(state.z));
  }
  levels();
  doing(() => cut(null))();
})();
