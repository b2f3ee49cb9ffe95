const SIDE = 8; // the model's image has 8 x 8 pixels
const BLOCK = 4; // each is the number of ink dots in a block of 4 x 4: the data set was made so
const DOTS = SIDE * BLOCK;
const PEN = 5; // the width of a stroke, in dots
const LARGEST_ZOOM = 4; // so that a point stays a point

const settings = JSON.parse(document.getElementById("settings").textContent);
const paper = document.getElementById("paper");
const seen = document.getElementById("seen");
const status = document.getElementById("status");
const bars = document.getElementById("bars");

const LOADING = "loads the runtime (14 MB)";
const OFFLINE =
  `The runtime could not be loaded. It comes from ${new URL(settings.runtime).host}, so this page ` +
  "needs a network. Connect, then run the cell again.";

let strokes = []; // lists of points [x, y], in pixels of the paper
let levels = new Array(SIDE * SIDE).fill(0); // what the model sees: 0 (white) to 16, row by row

// --- From strokes to grey levels ---------------------------------------------------------------

function drawStrokes(context, width) {
  context.lineWidth = width;
  context.lineCap = context.lineJoin = "round";
  for (const [first, ...others] of strokes) {
    context.beginPath();
    context.moveTo(...first);
    for (const point of [first, ...others]) context.lineTo(...point);
    context.stroke();
  }
}

// The digits of the data set fill the height and stand in the middle, so ours must do so too.
function toBitmap() {
  const [left, right, top, bottom] = [0, 1].flatMap((axis) => {
    const values = strokes.flat().map((point) => point[axis]);
    return [Math.min(...values), Math.max(...values)];
  });
  const extent = Math.max(right - left, bottom - top);
  const zoom = Math.min((DOTS - PEN) / extent, (LARGEST_ZOOM * DOTS) / paper.width);
  const context = new OffscreenCanvas(DOTS, DOTS).getContext("2d");
  context.translate(DOTS / 2, DOTS / 2);
  context.scale(zoom, zoom);
  context.translate(-(left + right) / 2, -(top + bottom) / 2);
  drawStrokes(context, PEN / zoom);
  const rgba = context.getImageData(0, 0, DOTS, DOTS).data;
  return Array.from({ length: DOTS * DOTS }, (_, dot) => (rgba[4 * dot + 3] >= 128 ? 1 : 0));
}

function countInk(bitmap) {
  const counts = new Array(SIDE * SIDE).fill(0);
  bitmap.forEach((ink, dot) => {
    const row = Math.floor(dot / DOTS / BLOCK);
    const column = Math.floor((dot % DOTS) / BLOCK);
    counts[row * SIDE + column] += ink;
  });
  return counts;
}

// --- The model ---------------------------------------------------------------------------------

// The runtime is loaded with the first image: a page that nobody uses loads nothing.
let opening = null;
let opened = false;
let lastRun = Promise.resolve();

async function openModel() {
  const ort = await import(`${settings.runtime}ort.wasm.min.mjs`).catch(() => {
    throw new Error(OFFLINE);
  });
  ort.env.wasm.wasmPaths = settings.runtime;
  ort.env.wasm.numThreads = 1; // threads need permissions that a frame in a notebook has not
  const bytes = Uint8Array.from(atob(settings.model), (letter) => letter.charCodeAt(0));
  const session = await ort.InferenceSession.create(bytes).catch((error) => {
    const offline = error.message.includes("no available backend");
    throw new Error(offline ? OFFLINE : `The model could not be opened: ${error.message}`);
  });
  return { ort, session };
}

async function run(image) {
  opening ??= openModel();
  const { ort, session } = await opening;
  opened = true;
  const pixels = Float32Array.from(image, (level) => level / settings.darkest);
  const tensor = new ort.Tensor("float32", pixels, [1, SIDE, SIDE, 1]);
  const results = await session.run({ [session.inputNames[0]]: tensor });
  return Array.from(results[session.outputNames[0]].data);
}

// Give the ten probabilities of an image, 64 grey levels from 0 to 16, row by row.
// A session takes one image at a time, so a call waits for the one before it.
function classify(image) {
  const answer = lastRun.then(() => run(image));
  lastRun = answer.catch(() => {});
  return answer;
}

// --- What the reader sees ----------------------------------------------------------------------

function paintLevels(canvas, image) {
  const context = canvas.getContext("2d");
  const picture = context.createImageData(SIDE, SIDE);
  image.forEach((level, pixel) => {
    const grey = Math.round(255 * (1 - level / settings.darkest));
    picture.data.set([grey, grey, grey, 255], 4 * pixel);
  });
  context.putImageData(picture, 0, 0);
}

function paintBars(probabilities) {
  const best = probabilities.indexOf(Math.max(...probabilities));
  [...bars.rows].forEach((row, digit) => {
    const percent = `${(100 * probabilities[digit]).toFixed(1)}%`;
    row.classList.toggle("best", probabilities[best] > 0 && digit === best);
    row.querySelector(".bar").style.width = percent;
    row.cells[2].textContent = percent;
  });
  return best;
}

function say(text, trouble = false) {
  status.textContent = text;
  status.classList.toggle("trouble", trouble);
}

function showLevels() {
  paintLevels(seen, levels);
  seen.ariaLabel = `${levels.filter((level) => level > 0).length} of 64 pixels have ink`;
}

async function showAnswer() {
  const image = levels;
  showLevels();
  if (!opened) say(`The first image ${LOADING} ...`);
  try {
    const probabilities = await classify(image);
    if (image !== levels) return; // the reader went on: a newer image is on its way
    const best = paintBars(probabilities);
    say(`The model reads ${best} (probability ${bars.rows[best].cells[2].textContent})`);
  } catch (error) {
    say(error.message, true);
  }
}

function clear() {
  strokes = [];
  levels = new Array(SIDE * SIDE).fill(0);
  paper.getContext("2d").clearRect(0, 0, paper.width, paper.height);
  paintLevels(seen, levels);
  seen.ariaLabel = "Nothing yet";
  paintBars(new Array(10).fill(0));
  say(opened ? "Draw a digit" : `Draw a digit. The first one ${LOADING}`);
}

// --- Mouse, pen and finger; buttons for the keyboard ---------------------------------------------

function place(event) {
  const box = paper.getBoundingClientRect();
  const scale = paper.width / box.width;
  return [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
}

function extendStroke(event) {
  // A browser may report several movements as one: keep all their points.
  const parts = event.getCoalescedEvents?.() ?? [];
  strokes.at(-1).push(...(parts.length > 0 ? parts : [event]).map(place));
  const context = paper.getContext("2d");
  context.clearRect(0, 0, paper.width, paper.height);
  drawStrokes(context, paper.width / 14);
  levels = countInk(toBitmap());
  // The runtime is compiled in the page's only thread: the first stroke would lose points meanwhile.
  if (opened) showAnswer();
  else showLevels();
}

paper.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  if (strokes.length === 0) clear(); // an example may be on the paper
  paper.setPointerCapture(event.pointerId);
  strokes.push([]);
  extendStroke(event);
});
paper.addEventListener("pointermove", (event) => {
  if (paper.hasPointerCapture(event.pointerId)) extendStroke(event);
});
paper.addEventListener("lostpointercapture", showAnswer); // the end of a stroke
document.getElementById("clear").addEventListener("click", clear);

settings.examples.forEach((image, number) => {
  const button = document.createElement("button");
  button.type = "button";
  button.ariaLabel = `Test image ${number + 1}`;
  const canvas = button.appendChild(document.createElement("canvas"));
  canvas.width = canvas.height = SIDE;
  paintLevels(canvas, image);
  button.addEventListener("click", () => {
    clear();
    levels = image;
    const context = paper.getContext("2d");
    context.imageSmoothingEnabled = false;
    context.drawImage(canvas, 0, 0, paper.width, paper.height);
    showAnswer();
  });
  document.getElementById("examples").append(button);
});

for (let digit = 0; digit < 10; digit += 1) {
  const row = bars.insertRow();
  row.innerHTML =
    `<th scope="row">${digit}</th><td><div class="track"><div class="bar"></div></div></td><td></td>`;
}
document.querySelector("h1").textContent =
  `${settings.modelName} runs in your browser, with onnxruntime-web ${settings.runtimeVersion}`;
clear();

// For tests and for the curious: open the console of this frame and call window.classify(...).
Object.assign(window, { classify, countInk, shownLevels: () => levels });
