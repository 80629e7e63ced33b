/** Rounds of inputs over every decoder, and what they find. */
import { attempt, type Finding, shrink } from "./attempt.ts";
import type { Decoder } from "./decoder.ts";
import { inputOf } from "./mutations.ts";

export interface Found extends Finding {
  readonly decoder: Decoder;
  readonly seed: number;
  /** As short as it became. */
  readonly input: Uint8Array;
}

export interface Round {
  readonly inputs: number;
  readonly found: readonly Found[];
}

/** The inputs of one round: the same for the same number. One finding of a decoder ends its round. */
export async function runRound(
  decoders: readonly Decoder[],
  round: number,
  began: (decoder: Decoder, seed: number) => void = () => {},
): Promise<Round> {
  const found: Found[] = [];
  let inputs = 0;
  for (const decoder of decoders) {
    const first = round * decoder.inputsPerRound;
    for (let seed = first; seed < first + decoder.inputsPerRound; seed++) {
      began(decoder, seed);
      const input = inputOf(decoder, seed);
      inputs++;
      const finding = await attempt(decoder, input);
      if (finding === undefined) continue;
      found.push({ ...finding, decoder, seed, input: await shrink(decoder, input, finding) });
      break;
    }
  }
  return { inputs, found };
}

/** For people: what happened, on what, and how to see it again. */
export function describeFound({ decoder, seed, input, kind, what }: Found): string {
  const hex = Buffer.from(input).toString("hex");
  const command = `node --conditions=@sotto/source testing/fuzz/replay.ts ${JSON.stringify(decoder.name)}`;
  const shown = hex.length > 4_000 ? `${hex.slice(0, 4_000)}… (${input.length} bytes)` : hex;
  return `${decoder.name}: ${kind}: ${what}\n  ${shown}\n  ${command} ${seed}\n  ${command} --hex HEX`;
}
