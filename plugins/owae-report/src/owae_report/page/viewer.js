// Draws events where a pointer is in a plane of a latent. No framework, no network: what is decoded comes from the page.
"use strict";

const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
const clip = (value, low, high) => Math.min(Math.max(value, low), high);

// erf to 1.5e-7: Abramowitz and Stegun, 7.1.26.
function erf(x) {
  const t = 1 / (1 + 0.3275911 * Math.abs(x));
  const series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t + 0.254829592) * t;
  return Math.sign(x) * (1 - series * Math.exp(-x * x));
}

const ACTIVATIONS = {
  identity: (x) => x,
  relu: (x) => Math.max(x, 0),
  "leaky-relu": (x) => (x > 0 ? x : 0.01 * x),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  gelu: (x) => 0.5 * x * (1 + erf(x * Math.SQRT1_2)),
  silu: (x) => x / (1 + Math.exp(-x)),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
};

// The decoders of a stack: steps of a weighted sum, a layer norm where there is one, and an activation.
class Network {
  constructor({ steps, data }) {
    const buffer = bytes(data).buffer;
    let at = 0;
    const take = (Kind, count) => {
      const part = new Kind(buffer, at, count);
      at += 4 * Math.ceil(part.byteLength / 4);
      return part;
    };
    this.steps = steps.map((step) => ({
      ...step,
      scale: take(Float32Array, step.outputs),
      bias: take(Float32Array, step.outputs),
      gain: step.eps === null ? null : take(Float32Array, step.outputs),
      shift: step.eps === null ? null : take(Float32Array, step.outputs),
      weights: take(Int16Array, step.inputs * step.outputs),
      activate: ACTIVATIONS[step.activation],
    }));
  }

  decode(z) {
    for (const { inputs, outputs, scale, bias, gain, shift, eps, weights, activate } of this.steps) {
      const y = new Float32Array(outputs);
      for (let row = 0, at = 0; row < outputs; row++) {
        let sum = 0;
        for (let i = 0; i < inputs; i++, at++) sum += weights[at] * z[i];
        y[row] = sum * scale[row] + bias[row];
      }
      if (gain) {
        const mean = y.reduce((a, b) => a + b, 0) / outputs;
        const deviation = Math.sqrt(y.reduce((a, b) => a + (b - mean) ** 2, 0) / outputs + eps);
        y.forEach((value, i) => (y[i] = ((value - mean) / deviation) * gain[i] + shift[i]));
      }
      z = y.map(activate);
    }
    return z;
  }
}

// Values of an event (C, H, W) as a picture on a canvas of the event's own size.
function showPicture(canvas, values, { height, width, channels, range: [low, high] }) {
  const level = (value) => Math.floor(clip(((value - low) * 255) / (high - low), 0, 255) + 0.5);
  const size = height * width;
  const image = new ImageData(width, height);
  for (let i = 0; i < size; i++) {
    const alpha = channels === 4 ? level(values[3 * size + i]) / 255 : 1;
    for (let c = 0; c < 3; c++) {
      const value = level(values[channels === 1 ? i : c * size + i]);
      image.data[4 * i + c] = channels === 4 ? Math.floor(value * alpha + 255 * (1 - alpha) + 0.5) : value;
    }
    image.data[4 * i + 3] = 255;
  }
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

// Values of an event that is no picture as a line.
function showLine(canvas, values, { low, high }) {
  const [width, height, foot] = [640, 400, 36];
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  context.font = `20px ${style.fontFamily}`;
  const marks = [low, (low + high) / 2, high].map((value) => [value, value.toPrecision(3).replace("-", "−")]);
  const left = 16 + Math.max(54, ...marks.map(([, text]) => context.measureText(text).width));
  const span = high - low || 1;
  const x = (i) => left + ((width - left - 20) * (i + 0.5)) / values.length;
  const y = (value) => height - foot - (height - foot - 20) * clip((value - low) / span, -0.05, 1.05);
  context.fillStyle = context.strokeStyle = style.color;
  context.globalAlpha = 0.4;
  for (const [value] of marks) context.fillRect(left, y(value), width - left - 20, 1);
  context.globalAlpha = 1;
  context.textAlign = "right";
  for (const [value, text] of marks) context.fillText(text, left - 8, y(value) + 7);
  context.textAlign = "center";
  context.fillText("0", x(0), height - 8);
  if (values.length > 1) context.fillText(String(values.length - 1), x(values.length - 1), height - 8);
  context.fillText("coordinate", (left + width) / 2, height - 8);
  context.strokeStyle = style.accentColor === "auto" ? style.color : style.accentColor;
  context.lineWidth = 3;
  context.beginPath();
  values.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.stroke();
  if (values.length <= 40) values.forEach((value, i) => context.strokeRect(x(i) - 3, y(value) - 3, 6, 6));
}

// A surface of columns × rows cells on which a place is chosen, by pointer or arrow keys, in units of cells from the upper left.
function choose(surface, grid, chosen) {
  const marker = surface.querySelector(".marker");
  const place = { column: 0, row: 0 };
  const move = (column, row) => {
    const { columns, rows, snap } = grid;
    place.column = clip(snap ? Math.round(column) : column, 0, columns - 1);
    place.row = clip(snap ? Math.round(row) : row, 0, rows - 1);
    marker.style.left = `${(100 * (place.column + 0.5)) / columns}%`;
    marker.style.top = `${(100 * (place.row + 0.5)) / rows}%`;
    marker.hidden = false;
    chosen(place.column, place.row);
  };
  const point = (event) => {
    const box = surface.getBoundingClientRect();
    const [across, down] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    move(across * grid.columns - 0.5, down * grid.rows - 0.5);
  };
  surface.addEventListener("pointerdown", (event) => {
    surface.setPointerCapture(event.pointerId);
    point(event);
  });
  surface.addEventListener("pointermove", (event) => event.buttons & 1 && point(event));
  surface.addEventListener("keydown", (event) => {
    const [right, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] || [];
    if (right === undefined) return;
    event.preventDefault();
    move(place.column + right, place.row + down);
  });
  return { grid, move, redraw: () => move(place.column, place.row) };
}

// From −1 to 1 along an axis of the plane.
const along = (cell, cells) => (cells > 1 ? (2 * cell) / (cells - 1) - 1 : 0);
