/**
 * Chance from a seed (sfc32 over SHA-256 of the seed): the same seed, the same world. Each part draws from a stream of its
 * own, named by what it is for, so that one more draw in one place moves nothing elsewhere.
 */
import { hash } from "node:crypto";

export class Randomness {
  readonly #name: string;
  readonly #words: Uint32Array;

  constructor(name: string) {
    this.#name = name;
    const digest = hash("sha256", name, "buffer");
    this.#words = new Uint32Array(4);
    for (let i = 0; i < 4; i++) this.#words[i] = digest.readUInt32LE(i * 4);
    for (let i = 0; i < 12; i++) this.#next();
  }

  /** A stream that does not depend on how much was drawn from this one. */
  stream(name: string): Randomness {
    return new Randomness(`${this.#name}/${name}`);
  }

  bytes(count: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(count);
    this.draw(bytes);
    return bytes;
  }

  /** As many bytes as there is room for. */
  draw(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i += 4) {
      const word = this.#next();
      for (let j = 0; j < 4 && i + j < bytes.length; j++) bytes[i + j] = word >>> (8 * j);
    }
  }

  /** 0 ≤ result < 1 */
  fraction(): number {
    return this.#next() / 2 ** 32;
  }

  /** from ≤ result < to */
  integer(from: number, to: number): number {
    return from + Math.floor(this.fraction() * (to - from));
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  pick<T>(items: readonly T[]): T {
    return items[this.integer(0, items.length)]!;
  }

  /** The first choice whose weight is reached. */
  weighted<T extends string>(weights: Readonly<Partial<Record<T, number>>>): T {
    const entries = Object.entries(weights) as [T, number][];
    let rest = this.fraction() * entries.reduce((sum, [, weight]) => sum + weight, 0);
    for (const [choice, weight] of entries) {
      rest -= weight;
      if (rest < 0) return choice;
    }
    return entries.at(-1)![0];
  }

  #next(): number {
    const words = this.#words;
    const sum = (words[0]! + words[1]! + words[3]!) >>> 0;
    words[3]!++;
    words[0] = words[1]! ^ (words[1]! >>> 9);
    words[1] = words[2]! + (words[2]! << 3);
    words[2] = ((words[2]! << 21) | (words[2]! >>> 11)) + sum;
    return sum;
  }
}
