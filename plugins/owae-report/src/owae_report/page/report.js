// The viewer of a report: the sheet is in the page, and perhaps the decoders.
"use strict";

(async () => {
  const data = JSON.parse(document.getElementById("plane-data").textContent);
  const surface = document.getElementById("plane-map");
  const canvas = document.getElementById("plane-picture");
  const where = document.getElementById("plane-place");
  const { columns, rows, axes, names, picture, values } = data;
  const network = data.network && new Network(data.network);
  const sheet = surface.querySelector("img");
  const numbers = values && new Float32Array(bytes(values.data).buffer);
  if (sheet) await sheet.decode();

  const fromSheet = (column, row) => {
    if (!picture) {
      const at = (row * columns + column) * values.count;
      return showLine(canvas, numbers.subarray(at, at + values.count), values);
    }
    const [width, height] = [sheet.naturalWidth / columns, sheet.naturalHeight / rows];
    canvas.width = width;
    canvas.height = height;
    canvas.getContext("2d").drawImage(sheet, column * width, row * height, width, height, 0, 0, width, height);
  };
  const fromNetwork = (z) => (picture ? showPicture(canvas, network.decode(z), picture) : showLine(canvas, network.decode(z), values));

  const chosen = (column, row) => {
    const place = [along(column, columns), -along(row, rows)];
    const z = axes[0].map((_, i) => axes.reduce((sum, axis, k) => sum + place[k] * axis[i], 0));
    network ? fromNetwork(z) : fromSheet(column, row);
    const shown = names ? z.map((value, i) => `${names[i]} = ${value.toFixed(2)}`) : place.map((value) => (2 * value).toFixed(2));
    where.textContent = shown.join(", ").replaceAll("-", "−");
  };
  document.getElementById("viewer").hidden = false;
  const { move, redraw } = choose(surface, { columns, rows, snap: !network }, chosen);
  move((columns - 1) / 2, (rows - 1) / 2);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
})();
