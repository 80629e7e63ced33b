/** Time that passes only when a test says so. */
import type { Clock } from "../platform.ts";

export class ManualClock implements Clock {
  #now = Date.UTC(2026, 0, 1);
  readonly #pending = new Set<{ at: number; action: () => void }>();

  now(): number {
    return this.#now;
  }

  after(delayMs: number, action: () => void): () => void {
    const timer = { at: this.#now + delayMs, action };
    this.#pending.add(timer);
    return () => this.#pending.delete(timer);
  }

  /** Delays until the timers that wait, shortest first. */
  get delaysMs(): number[] {
    return [...this.#pending].map(({ at }) => at - this.#now).sort((a, b) => a - b);
  }

  /** Lets time pass; what is due happens in its order, and what follows from each has its turn before the next. */
  async advance(durationMs: number): Promise<void> {
    const until = this.#now + durationMs;
    for (;;) {
      await turn();
      const next = [...this.#pending].filter(({ at }) => at <= until).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#pending.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.action();
    }
    this.#now = until;
    await turn();
  }
}

/** Everything that can happen without time passing has happened. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}
