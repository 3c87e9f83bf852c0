// Segments a photo in the page, from model.onnx and model.onnx.json beside it.

import * as ort from "./node_modules/onnxruntime-web/dist/ort.wasm.min.mjs";

// Of a photo's longer side on the page, in pixels, and for the model unless it asks for fewer.
const LONGEST = 640;

const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };

async function load() {
  const answer = await fetch("model.onnx.json");
  if (!answer.ok) throw new Error("model.onnx.json is not beside this page");
  const record = await answer.json();
  if (record.output.name !== "classes") throw new Error("export the model with --output classes");
  return { record, session: await ort.InferenceSession.create("model.onnx") };
}

// Draws the photo with a longer side of `longest` pixels at most; returns its RGBA bytes.
function draw(photo, canvas, longest, [, height, width] = []) {
  const scale = Math.min(1, longest / Math.max(photo.width, photo.height));
  canvas.width = width ?? Math.max(1, Math.round(scale * photo.width)); // null where any will do
  canvas.height = height ?? Math.max(1, Math.round(scale * photo.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(photo, 0, 0, canvas.width, canvas.height);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// The class of each pixel, a byte each.
async function segment(session, { data, width, height }) {
  const images = new Float32Array(3 * width * height);
  for (let pixel = 0; pixel < width * height; pixel++) {
    for (let channel = 0; channel < 3; channel++) {
      images[3 * pixel + channel] = data[4 * pixel + channel];
    }
  }
  const { classes } = await session.run({
    images: new ort.Tensor("float32", images, [1, height, width, 3]),
  });
  return classes.data;
}

function paint(classes, colors, { width, height }) {
  const map = element("map");
  [map.width, map.height] = [width, height];
  const picture = new ImageData(width, height);
  classes.forEach((label, pixel) => picture.data.set([...colors[label], 255], 4 * pixel));
  map.getContext("2d").putImageData(picture, 0, 0);
}

function list(classes, { names, colors }) {
  const counts = new Array(names.length).fill(0);
  for (const label of classes) counts[label]++;
  const found = names.map((_, label) => label).filter((label) => counts[label]);
  found.sort((one, other) => counts[other] - counts[one]);
  element("legend").replaceChildren(...found.map((label) => {
    const [item, patch] = [document.createElement("li"), document.createElement("i")];
    patch.style.background = `rgb(${colors[label]})`;
    item.append(patch, `${names[label]} ${(100 * counts[label] / classes.length).toFixed(1)} %`);
    return item;
  }));
}

async function show(file, { record, session }) {
  say("Segmenting…");
  element("map").width = 0;
  element("legend").replaceChildren();
  const photo = await createImageBitmap(file, { colorSpaceConversion: "none" });
  draw(photo, element("image"), LONGEST);
  const { input, model: { max_side: longest = LONGEST } } = record;
  const image = draw(photo, document.createElement("canvas"), longest, input.shape);
  await new Promise((resolve) => setTimeout(resolve, 50)); // the browser shows the photo first
  const start = performance.now();
  const classes = await segment(session, image);
  const seconds = (performance.now() - start) / 1000;
  paint(classes, record.model.colors, image);
  list(classes, record.model);
  say(`${image.width} × ${image.height} pixels in ${seconds.toFixed(1)} s`);
}

// One thing after another, its failure on the page.
const attempt = (work) => work().catch((error) => say(`It failed: ${error.message}`));

element("opacity").addEventListener("input", (event) => {
  element("map").style.opacity = event.target.value;
});
attempt(async () => {
  const model = await load();
  const input = element("photo");
  input.addEventListener("change", async () => {
    if (!input.files.length) return;
    input.disabled = true;
    await attempt(() => show(input.files[0], model));
    input.disabled = false;
  });
  input.disabled = false;
  say("Choose a photo.");
});
