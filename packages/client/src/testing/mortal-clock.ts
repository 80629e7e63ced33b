/** Time that ends with whoever lives by it: what a killed process was about to do later is never done. For tests. */
import type { Clock } from "../platform.ts";

export class MortalClock implements Clock {
  readonly #clock: Clock;
  readonly #pending = new Set<() => void>();
  #stopped = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  now(): number {
    return this.#clock.now();
  }

  after(delayMs: number, action: () => void): () => void {
    if (this.#stopped) return () => {};
    const stop = this.#clock.after(delayMs, () => {
      this.#pending.delete(stop);
      action();
    });
    this.#pending.add(stop);
    return () => {
      this.#pending.delete(stop);
      stop();
    };
  }

  stop(): void {
    this.#stopped = true;
    for (const stop of this.#pending) stop();
  }
}
