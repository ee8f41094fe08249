/** Where the pictures of the atlas stand in its scroll box, and how the visible ones are drawn. */

import { largest } from "explorer/paint.js";

const gap = 6;
const bar = 4;
const labelFrom = 60;
const labelHeight = 15;
const lowest = 12;

export class AtlasDrawing {
  /** @param {HTMLCanvasElement} canvas Covers what is visible of the box. @param {{width, height}} picture In cells. */
  constructor(canvas, picture) {
    Object.assign(this, { canvas, picture, sheet: null, columns: 1, linesInView: 1, count: 0 });
    this.readColors();
  }

  /** Colors change with the scheme. */
  readColors() {
    const style = getComputedStyle(document.documentElement);
    const names = ["positive", "negative", "line", "quiet", "accent", "focus", "warn", "card"];
    this.colors = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(`--${name}`)]));
  }

  /** Fit pictures of this width into a box. @returns {number} Height of all lines. */
  lay(boxWidth, count, tile) {
    const inner = boxWidth - 2 * gap;
    this.boxWidth = boxWidth;
    this.count = count;
    this.width = Math.min(tile, inner);
    this.height = Math.max(lowest, Math.round((this.width * this.picture.height) / this.picture.width));
    this.labelled = this.width >= labelFrom;
    this.columns = Math.max(1, Math.floor((inner + gap) / (this.width + gap)));
    // What is left over is spread between the columns, where there is more than one line.
    const spread = count > this.columns && this.columns > 1;
    this.stepX = spread ? (inner - this.width) / (this.columns - 1) : this.width + gap;
    this.stepY = this.height + bar + 2 + (this.labelled ? labelHeight : 0) + gap;
    return 2 * gap + Math.ceil(count / this.columns) * this.stepY;
  }

  /** Fit the canvas to the visible part, in the screen's own pixels. */
  resize(boxHeight) {
    this.ratio = devicePixelRatio;
    this.boxHeight = boxHeight;
    this.linesInView = Math.max(1, Math.floor(boxHeight / this.stepY));
    const [width, height] = [Math.round(this.boxWidth * this.ratio), Math.round(boxHeight * this.ratio)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    Object.assign(this.canvas.style, { width: `${this.boxWidth}px`, height: `${boxHeight}px` });
  }

  /** The place in the order under a point of the box's content; null between pictures. */
  placeAt(x, y) {
    const column = Math.floor((x - gap / 2) / this.stepX);
    const place = Math.floor((y - gap / 2) / this.stepY) * this.columns + column;
    const between = x - column * this.stepX > this.width + 2 * gap;
    return column < 0 || column >= this.columns || between || place >= this.count ? null : place;
  }

  lineAt(place) {
    const top = Math.floor(place / this.columns) * this.stepY;
    return { top, bottom: top + this.stepY + 2 * gap };
  }

  /**
   * Draw the visible units.
   * @param {number[]} units In their order.
   * @param {number} scrolled How far the box is scrolled down.
   */
  draw(units, scrolled, { activations, chosen, operated, hovered, cursor }) {
    if (this.sheet === null || !(this.boxWidth > 0)) return;
    const context = (this.context ??= this.canvas.getContext("2d"));
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    // Whole or large steps stay sharp; others would make some pixels wider than their neighbors.
    const scale = (this.width * this.ratio) / this.picture.width;
    context.imageSmoothingEnabled = scale < 3 && scale !== Math.round(scale);
    context.font = `${11 * this.ratio}px system-ui, sans-serif`;
    context.textBaseline = "top";
    const most = largest(activations);
    const first = Math.max(0, Math.floor((scrolled - gap) / this.stepY)) * this.columns;
    const last = Math.min(units.length, Math.ceil((scrolled + this.boxHeight) / this.stepY) * this.columns);
    for (let place = first; place < last; place++) {
      const unit = units[place];
      const box = this.boxOf(place, scrolled);
      this.drawUnit(unit, box, most > 0 ? activations[unit] / most : 0);
      if (operated.has(unit)) this.cross(box);
      if (unit === hovered) this.frame(box, this.colors.quiet, 1);
      if (unit === chosen) this.frame(box, this.colors.accent, 3);
      if (unit === cursor) this.frame(box, this.colors.focus, 3, [4, 2]);
    }
  }

  /** In the screen's pixels, whole ones. */
  boxOf(place, scrolled) {
    const whole = (value) => Math.round(value * this.ratio);
    const { top } = this.lineAt(place);
    const left = gap + (place % this.columns) * this.stepX;
    return { x: whole(left), y: whole(top + gap - scrolled), w: whole(this.width), h: whole(this.height) };
  }

  /** Its picture, pale where the unit is silent, and its activation as a part of the largest one. */
  drawUnit(unit, { x, y, w, h }, part) {
    const { context, colors, ratio, picture: { width, height } } = this;
    const { canvas, columns } = this.sheet;
    context.globalAlpha = part === 0 ? 0.4 : 1;
    context.drawImage(canvas, (unit % columns) * width, Math.floor(unit / columns) * height, width, height, x, y, w, h);
    context.globalAlpha = 1;
    const top = y + h + Math.round(2 * ratio);
    const thick = Math.round(bar * ratio);
    context.fillStyle = colors.line;
    context.fillRect(x, top + thick - 1, w, 1);
    context.fillStyle = part > 0 ? colors.positive : colors.negative;
    if (part !== 0) context.fillRect(x, top, Math.max(1, Math.round(w * Math.abs(part))), thick);
    context.fillStyle = colors.quiet;
    if (this.labelled) context.fillText(`#${unit}`, x, top + thick + 2 * ratio, w);
  }

  cross({ x, y, w, h }) {
    const { context } = this;
    for (const [color, width] of [[this.colors.card, 4], [this.colors.warn, 2]]) {
      this.pen(color, width);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(x + w, y + h);
      context.moveTo(x + w, y);
      context.lineTo(x, y + h);
      context.stroke();
    }
  }

  frame({ x, y, w, h }, color, width, dashes = []) {
    const out = (width / 2) * this.ratio;
    this.pen(color, width);
    this.context.setLineDash(dashes.map((dash) => dash * this.ratio));
    this.context.strokeRect(x - out, y - out, w + 2 * out, h + 2 * out);
    this.context.setLineDash([]);
  }

  pen(color, width) {
    this.context.strokeStyle = color;
    this.context.lineWidth = width * this.ratio;
  }
}
