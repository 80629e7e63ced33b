/**
 * The few globals that Node and every browser share and that the packages without I/O may use. `protocol` and `e2ee`
 * are compiled with this instead of Node's or the DOM's types, so that a clock, a timer or a socket is a type error there.
 */
declare class TextEncoder {
  encode(text?: string): Uint8Array<ArrayBuffer>;
}

declare class TextDecoder {
  constructor(label?: "utf-8", options?: { fatal?: boolean; ignoreBOM?: boolean });
  decode(bytes?: ArrayBuffer | ArrayBufferView): string;
}

declare function structuredClone<T>(value: T): T;
declare function queueMicrotask(task: () => void): void;

/** Opaque handle of a WebCrypto key. */
interface CryptoKey {
  readonly algorithm: { readonly name: string };
  readonly extractable: boolean;
  readonly type: "public" | "private" | "secret";
  readonly usages: readonly string[];
}
