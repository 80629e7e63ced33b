/**
 * Inputs for a decoder: a sample, changed in one to four places. Half of the changes know how the bytes are put together
 * (cbor-changes.ts, mls-changes.ts, text-changes.ts) and so reach what a flipped bit would not; the others know nothing. The same
 * decoder and number make the same input, as long as its samples are the same.
 */
import { joinBytes as join } from "@sotto/protocol";
import { Randomness } from "../world/randomness.ts";
import { changeCbor } from "./cbor-changes.ts";
import type { Decoder } from "./decoder.ts";
import { changeMls } from "./mls-changes.ts";
import { changeText } from "./text-changes.ts";

/** One input in so many is as large as its callers let it become. */
const largeOneIn = 400;

export function inputOf(decoder: Decoder, seed: number): Uint8Array {
  const dice = new Randomness(`${decoder.name}/${seed}`);
  let input = dice.pick(decoder.samples);
  // The sample itself, and nothing at all, are inputs too.
  for (let left = dice.integer(0, 32) === 0 ? 0 : dice.integer(1, 5); left > 0; left--) {
    input = dice.chance(0.5) ? changeStructure(dice, decoder, input) : changeBytes(dice, decoder, input);
  }
  if (dice.integer(0, largeOneIn) === 0) input = grow(dice, input, decoder.bytesMax);
  return input.length > decoder.bytesMax ? input.slice(0, decoder.bytesMax) : input;
}

function changeStructure(dice: Randomness, decoder: Decoder, input: Uint8Array): Uint8Array {
  switch (decoder.structure) {
    case "cbor":
      return changeCbor(dice, input);
    case "mls":
      return changeMls(dice, input);
    case "text":
      return changeText(dice, input);
    case "bytes":
      return changeBytes(dice, decoder, input);
  }
}

function changeBytes(dice: Randomness, { samples, structure }: Decoder, input: Uint8Array): Uint8Array {
  // Text stays text: half a code unit would turn all that follows into another script.
  const step = structure === "text" ? 2 : 1;
  const place = () => step * dice.integer(0, input.length / step + 1);
  const at = place();
  switch (dice.integer(0, 7)) {
    case 0: {
      if (at >= input.length) return input;
      const changed = input.slice();
      changed[at]! ^= 1 << dice.integer(0, 8);
      return changed;
    }
    case 1: {
      const changed = input.slice();
      if (at < input.length)
        changed[at] = dice.pick([0, 1, 0x17, 0x18, 0x3f, 0x40, 0x7f, 0x80, 0xbf, 0xc0, 0xfe, 0xff]);
      return changed;
    }
    case 2:
      return join(input.subarray(0, at), dice.bytes(step * dice.integer(1, 9)), input.subarray(at));
    case 3:
      return join(input.subarray(0, at), input.subarray(at + step * dice.integer(1, 9)));
    case 4:
      return input.slice(0, at);
    case 5: {
      const other = dice.pick(samples);
      return join(input.subarray(0, at), other.subarray(step * dice.integer(0, other.length / step + 1)));
    }
    default: {
      // A piece of itself once more, somewhere else.
      const piece = input.subarray(at, at + step * dice.integer(1, 65));
      const to = place();
      return join(input.subarray(0, to), piece, input.subarray(to));
    }
  }
}

/** One piece of it over and over: what costs more than its length shows. */
function grow(dice: Randomness, input: Uint8Array, bytesMax: number): Uint8Array {
  if (input.length === 0) return new Uint8Array(bytesMax).fill(dice.integer(0, 256));
  const at = 2 * dice.integer(0, input.length / 2 + 1);
  const piece = input.subarray(at, at + 2 * dice.integer(1, 5));
  const room = bytesMax - input.length;
  if (room <= 0 || piece.length === 0) return input;
  const repeated = new Uint8Array(Math.floor(room / piece.length) * piece.length);
  for (let to = 0; to < repeated.length; to += piece.length) repeated.set(piece, to);
  return join(input.subarray(0, at), repeated, input.subarray(at));
}
