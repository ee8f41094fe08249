/**
 * The arrays that lie in this page: base64 of gzip, decoded when they are first asked for.
 *
 * An array of a type of k bytes is stored as k planes, all first bytes, then all second bytes and so on, because
 * the bytes that hold signs and exponents are alike and compress well beside each other.
 */

const arrayTypes = {
  float32: Float32Array, float16: Uint16Array, int8: Int8Array, uint8: Uint8Array, int16: Int16Array,
  uint16: Uint16Array, uint32: Uint32Array,
};

/** How many numbers something of a shape has. */
export const sizeOf = ({ shape }) => shape.reduce((product, size) => product * size, 1);

/** What is thrown for an array that is missing or damaged; its message is meant for a person. */
export class DamagedBlock extends Error {}

/**
 * What the page holds, as it describes it.
 * @param {Document} page Holds the description in the element `manifest`.
 * @param {string} kind What it describes, `explorer` or `latents`.
 * @param {number} schema The version that is read.
 */
export function readManifest(page, kind, schema) {
  let manifest;
  try {
    manifest = JSON.parse(page.getElementById("manifest").textContent);
  } catch (error) {
    throw new DamagedBlock(`The description of what this file holds is damaged (${error.message}).`, { cause: error });
  }
  if (manifest?.format !== `ae_lightning.${kind}` || manifest.schema !== schema) {
    const format = { explorer: "explorer's", latents: "latents'" }[kind];
    throw new DamagedBlock(
      `This page reads version ${schema} of the ${format} format, and the file holds version ${manifest?.schema}.`,
    );
  }
  return manifest;
}

export class Blocks {
  /**
   * @param {Document} page Holds a script element with `data-block` for each array.
   * @param {Object<string, {type: string, shape: number[]}>} described Type and shape of each array, by name.
   */
  constructor(page, described) {
    this.page = page;
    this.described = described;
  }

  /**
   * Decode an array; a float16 one becomes a Float32Array.
   * @param {?string} name Null gives null, for what a run may lack.
   * @throws {DamagedBlock}
   */
  async read(name) {
    if (name === null) return null;
    const element = this.page.querySelector(`script[data-block="${CSS.escape(name)}"]`);
    const description = this.described[name];
    if (!element || !description) throw new DamagedBlock(`The part “${name}” of this file is missing.`);
    let bytes;
    try {
      bytes = await gunzip(element.textContent);
    } catch (error) {
      throw new DamagedBlock(`The part “${name}” of this file is damaged.`, { cause: error });
    }
    const ArrayType = arrayTypes[description.type];
    const length = sizeOf(description);
    if (!ArrayType || bytes.length !== length * ArrayType.BYTES_PER_ELEMENT) {
      throw new DamagedBlock(`The part “${name}” of this file has another length than it should have.`);
    }
    const values = new ArrayType(joinPlanes(bytes, ArrayType.BYTES_PER_ELEMENT).buffer);
    return description.type === "float16" ? widened(values) : values;
  }
}

async function gunzip(text) {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  const { readable, writable } = new DecompressionStream("gzip");
  const writer = writable.getWriter();
  const [answer] = await Promise.all([new Response(readable).arrayBuffer(), writer.write(bytes), writer.close()]);
  return new Uint8Array(answer);
}

function joinPlanes(bytes, width) {
  if (width === 1) return bytes;
  const length = bytes.length / width;
  const joined = new Uint8Array(bytes.length);
  for (let plane = 0; plane < width; plane++) {
    const start = plane * length;
    for (let i = 0; i < length; i++) joined[i * width + plane] = bytes[start + i];
  }
  return joined;
}

function widened(halves) {
  const table = halfTable();
  const wide = new Float32Array(halves.length);
  for (let i = 0; i < wide.length; i++) wide[i] = table[halves[i]];
  return wide;
}

let halves = null;

/** The values of all 65,536 float16 numbers: looking one up is faster than taking its bits apart. */
function halfTable() {
  if (halves) return halves;
  halves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    let size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
    if (exponent === 31) size = fraction ? NaN : Infinity;
    halves[bits] = bits >> 15 ? -size : size;
  }
  return halves;
}
