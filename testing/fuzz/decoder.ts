/**
 * What is fuzzed: one row for each decoder of bytes that somebody else may have made. The rows are in `decoders.ts`; inputs come
 * from `mutations.ts`, what counts as a failure is in `attempt.ts`.
 */
export interface Decoder {
  readonly name: string;
  /** The functions that it reaches, by the names under which the packages export them. */
  readonly covers: readonly string[];
  /** What the real encoders made. */
  readonly samples: readonly Uint8Array[];
  /** How an input is put together, so that changes reach what is inside. `text`: UTF-16 code units, little-endian. */
  readonly structure: "cbor" | "mls" | "bytes" | "text";
  /** The most that its callers hand it. */
  readonly bytesMax: number;
  /** Of a round; fewer for what takes long. */
  readonly inputsPerRound: number;
  /** @throws what `errors` has; `Broken` for an answer that breaks a promise of the format */
  readonly decode: (input: Uint8Array) => unknown;
  /** The only errors that may come out. */
  readonly errors: readonly (new (...given: never[]) => Error)[];
  /** Milliseconds that one input may take, where it is not `workMsMax` of attempt.ts; with the reason beside it. */
  readonly workMsMax?: number;
}

/** An answer that the format does not allow: a second spelling of the same, a byte that must not come out. */
export class Broken extends Error {}

type Optional = "bytesMax" | "covers" | "inputsPerRound" | "errors";
type Row = Omit<Decoder, Optional> & Partial<Pick<Decoder, Optional>>;

const roundInputs = 40;

export function bytesDecoder(row: Row): Decoder {
  return { covers: [], errors: [], bytesMax: 64 * 1024, inputsPerRound: roundInputs, ...row };
}

/** One that takes text. */
export function textDecoder(
  row: Omit<Row, "structure" | "samples" | "decode"> & {
    samples: readonly string[];
    decode: (text: string) => unknown;
  },
): Decoder {
  const { samples, decode } = row;
  return bytesDecoder({
    ...row,
    structure: "text",
    samples: samples.map(bytesOfText),
    decode: (input) => decode(textOfBytes(input)),
  });
}

export function bytesOfText(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, "utf16le"));
}

export function textOfBytes(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("utf16le");
}
