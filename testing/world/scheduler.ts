/**
 * The time of the world: one queue of what is to happen, in the order of its time, and of its entry where the time is the
 * same. What one event sets off without waiting for time has ended before the next begins, so nothing ever runs side by side.
 *
 * Every event belongs to a process of the world (the server, a device, a person); of a process that has died, nothing
 * happens any more.
 */
// Not the global one: that is the world's.
import { setImmediate as realSetImmediate } from "node:timers";

export interface Process {
  readonly name: string;
  isAlive: boolean;
}

export interface Timer {
  readonly process: Process;
  readonly action: () => void;
  atMs: number;
  order: number;
  isCancelled: boolean;
}

/** Hundreds of times what a plan takes: beyond it something goes round in circles. */
const eventsMax = 500_000;

export class Scheduler {
  nowMs: number;
  /** Whose code runs: what it starts is its own. */
  process: Process;
  /** Events that happened. */
  count = 0;
  readonly #heap: Timer[] = [];
  #order = 0;

  constructor(nowMs: number, process: Process) {
    this.nowMs = nowMs;
    this.process = process;
  }

  /** Calls `action` once after `delayMs`, as whoever calls this, unless the timer is cancelled first. */
  after(delayMs: number, action: () => void, process: Process = this.process): Timer {
    const timer: Timer = {
      process,
      action,
      // Whole milliseconds, as clocks tell them.
      atMs: this.nowMs + Math.max(0, Math.ceil(delayMs)),
      order: this.#order++,
      isCancelled: false,
    };
    this.#push(timer);
    return timer;
  }

  /** Runs everything up to and with `untilMs`; then it is that time. */
  async runUntil(untilMs: number): Promise<void> {
    await settled();
    for (let next = this.#heap[0]; next !== undefined && next.atMs <= untilMs; next = this.#heap[0]) {
      this.#pop();
      if (next.isCancelled || !next.process.isAlive) continue;
      this.nowMs = Math.max(this.nowMs, next.atMs);
      if (++this.count > eventsMax) throw new RangeError(`the world does not come to rest within ${eventsMax} events`);
      this.process = next.process;
      next.action();
      await settled();
    }
    this.nowMs = Math.max(this.nowMs, untilMs);
  }

  /** Lets time pass in which nothing happens: what was due meanwhile happens late. */
  leap(durationMs: number): void {
    this.nowMs += durationMs;
  }

  #push(timer: Timer): void {
    const heap = this.#heap;
    let at = heap.length;
    heap.push(timer);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop()!;
    if (heap.length === 0) return;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child++;
      if (!isBefore(heap[child]!, last)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = last;
  }
}

function isBefore(a: Timer, b: Timer): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);
}

/** Everything that can happen without time passing has happened. */
function settled(): Promise<void> {
  return new Promise((resolve) => realSetImmediate(resolve));
}
