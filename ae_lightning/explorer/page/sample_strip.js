/** The test samples: thumbnails of the first hundred, and a field that reaches all of them. */

import { button, counted, h, isCommand, tools } from "explorer/dom.js";
import { darkScheme, paintSample } from "explorer/paint.js";

const most = 100;
const side = 44;

/** Thumbnails, field and buttons, as one element. */
export function sampleStrip(store) {
  const { session } = store;
  const { samples } = session.manifest;
  const count = Math.min(most, samples.count);
  const { width, height } = session.input;
  const thumb = Math.max(12, Math.round(Math.min(side, (side * width) / height)));
  const sheet = h("canvas", { class: "image" });
  const frame = h("span", { class: "mark" });
  const inner = h("div", { class: "strip-inner" }, sheet, frame);
  inner.style.width = `${count * thumb}px`;
  inner.style.height = `${Math.max(28, Math.round((thumb * height) / width))}px`;
  const paint = () => paintThumbnails(sheet, session, count);
  paint();
  darkScheme.addEventListener("change", paint); // vectors have the colors of the scheme
  const go = (sample) => store.selectSample(sample);
  const strip = h("div", {
    class: "strip", tabindex: 0, role: "slider", "aria-label": "Test sample", "aria-valuemin": 0,
    "aria-valuemax": samples.count - 1,
    onclick: (event) => go(Math.floor((event.clientX - sheet.getBoundingClientRect().left) / thumb)),
    onkeydown: (event) => {
      const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10, Home: -Infinity, End: Infinity }[event.key];
      if (by === undefined || isCommand(event)) return;
      event.preventDefault();
      go((store.sample ?? 0) + by);
    },
  }, inner);
  const field = h("input", { type: "number", min: 0, max: samples.count - 1, onchange: () => {
    if (field.value !== "") go(field.valueAsNumber);
    field.value = store.sample ?? "";
  } });
  store.on("sample", () => {
    const { sample } = store;
    const name = session.className(sample);
    field.value = sample ?? "";
    strip.setAttribute("aria-valuenow", sample ?? 0);
    const said = name === null ? "" : `, class ${name}`;
    strip.setAttribute("aria-valuetext", `${sample ?? "an image of your own"}${said}`);
    frame.hidden = sample === null || sample >= count;
    if (frame.hidden) return;
    Object.assign(frame.style, { left: `${sample * thumb}px`, width: `${thumb}px` });
    // Not scrollIntoView, which would also move the page.
    const left = sample * thumb - strip.scrollLeft;
    if (left < 0 || left + thumb > strip.clientWidth) strip.scrollLeft = sample * thumb - strip.clientWidth / 2;
  });
  const step = (sign, by, title) => button(sign, () => go((store.sample ?? 0) + by), { title, class: "icon" });
  return h("div", {}, strip, tools(
    h("label", {}, "sample #", field), h("span", { class: "quiet" }, `of ${counted(samples.count)}`),
    h("span", { class: "joined" }, step("‹", -1, "Previous sample"), step("›", 1, "Next sample"))));
}

/** All thumbnails in a row on one canvas. */
function paintThumbnails(sheet, session, count) {
  const { width, height } = session.input;
  Object.assign(sheet, { width: count * width, height });
  const context = sheet.getContext("2d");
  const one = document.createElement("canvas");
  for (let sample = 0; sample < count; sample++) {
    paintSample(one, session.sample(sample), session.input);
    context.drawImage(one, sample * width, 0);
  }
}
