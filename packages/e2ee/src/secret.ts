/**
 * Bytes that must not end up in a log, an error or a JSON document. Printing one gives `[secret]`; whoever needs the bytes
 * says so by calling `reveal()`, which is easy to search for. Memory is not scrubbed: JavaScript copies too freely to promise it.
 */
const hidden = "[secret]";

export class Secret {
  readonly #bytes: Uint8Array;

  /** Takes a copy. */
  constructor(bytes: Uint8Array) {
    this.#bytes = bytes.slice();
  }

  /** The bytes themselves, not a copy: do not write to them. */
  reveal(): Uint8Array {
    return this.#bytes;
  }

  toString(): string {
    return hidden;
  }

  toJSON(): string {
    return hidden;
  }

  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return hidden;
  }
}
