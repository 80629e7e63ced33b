/** The host's time, which a test can set: what falls due by that happens at once. */
import type { Clock } from "../platform.ts";

export class JumpingClock implements Clock {
  #aheadMs = 0;
  readonly #pending = new Set<{ at: number; fire: () => void }>();

  now(): number {
    return Date.now() + this.#aheadMs;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = {
      at: this.now() + delayMs,
      fire: () => {
        stop();
        action();
      },
    };
    const host = setTimeout(timer.fire, delayMs);
    const stop = () => {
      clearTimeout(host);
      this.#pending.delete(timer);
    };
    this.#pending.add(timer);
    return stop;
  }

  /** Forward, or back: then nothing is due earlier. */
  jump(byMs: number): void {
    this.#aheadMs += byMs;
    const due = [...this.#pending].filter(({ at }) => at <= this.now()).sort((a, b) => a.at - b.at);
    for (const { fire } of due) fire();
  }
}
