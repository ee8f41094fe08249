/** Pictures of samples, cut out of the files in which many lie side by side. */

// A sheet of 16 × 16 pictures of 96 pixels takes 9 MB of memory.
const kept = 12;
const columns = 16;

export class Sheets {
  constructor(about, blocks) {
    this.about = about;
    this.blocks = blocks;
    this.known = new Map();
  }

  /** Draw a picture when its sheet is there, unless the canvas has been given another one meanwhile. */
  async draw(canvas, picture) {
    const { width, height, cell, per_sheet: perSheet } = this.about;
    Object.assign(canvas, { width, height });
    canvas.dataset.picture = picture;
    const sheet = await this.sheet(Math.floor(picture / perSheet));
    if (canvas.dataset.picture !== String(picture)) return;
    const place = picture % perSheet;
    const [x, y] = [(place % columns) * cell[0], Math.floor(place / columns) * cell[1]];
    canvas.getContext("2d").drawImage(sheet, x, y, width, height, 0, 0, width, height);
    canvas.dataset.drawn = picture;
  }

  /** A sheet as a bitmap; those used most recently are kept. */
  sheet(number) {
    const sheet = this.known.get(number) ?? this.read(number);
    this.known.delete(number);
    this.known.set(number, sheet);
    if (this.known.size > kept) this.known.delete(this.known.keys().next().value);
    return sheet;
  }

  async read(number) {
    const bytes = await this.blocks.read(this.about.sheets[number]);
    return createImageBitmap(new Blob([bytes], { type: this.about.type }));
  }
}
