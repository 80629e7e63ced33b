/**
 * One input and what it does: whether only the errors of the decoder come out, in how much time, with how much memory. What
 * depends on the machine is tried again before it counts, so that a busy one finds nothing that is not there.
 */
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Broken, type Decoder } from "./decoder.ts";

/** What one input may take. */
const workMsMax = 50;
/** What it may leave or pass through on the way: so much, and so many times its own length. */
const freeBytes = 16 * 1024 * 1024;
const bytesPerInputByte = 100;
/** How often something slow or large is tried again; it counts if it always is. */
const retries = 3;

export interface Finding {
  readonly kind: "error" | "slow" | "memory" | "broken";
  readonly what: string;
}

/** Undefined if the input was taken or refused as it should be. */
export async function attempt(decoder: Decoder, input: Uint8Array): Promise<Finding | undefined> {
  const limitMs = decoder.workMsMax ?? workMsMax;
  const limitBytes = freeBytes + bytesPerInputByte * input.length;
  const first = await measure(decoder, input);
  if (first.finding) return first.finding;
  if (first.tookMs <= limitMs && first.grewBytes <= limitBytes) return undefined;
  let { tookMs, grewBytes } = first;
  for (let i = 0; i < retries; i++) {
    collectGarbage();
    const again = await measure(decoder, input);
    tookMs = Math.min(tookMs, again.tookMs);
    grewBytes = Math.min(grewBytes, again.grewBytes);
  }
  if (tookMs > limitMs) return { kind: "slow", what: `${tookMs.toFixed(0)} ms, more than ${limitMs}` };
  if (grewBytes > limitBytes) return { kind: "memory", what: `${Math.round(grewBytes / 1e6)} MB of memory` };
  return undefined;
}

async function measure(
  { decode, errors }: Decoder,
  input: Uint8Array,
): Promise<{ tookMs: number; grewBytes: number; finding?: Finding }> {
  const heldBytes = memoryInUse();
  const startedMs = cpuMs();
  let finding: Finding | undefined;
  try {
    const answer = decode(input);
    if (answer instanceof Promise) await answer;
  } catch (error) {
    finding = judge(error, errors);
  }
  const tookMs = cpuMs() - startedMs;
  return { tookMs, grewBytes: memoryInUse() - heldBytes, ...(finding ? { finding } : {}) };
}

/** Work of this thread, so that other programs beside it do not count. */
function cpuMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function judge(error: unknown, errors: Decoder["errors"]): Finding | undefined {
  if (error instanceof Broken) return { kind: "broken", what: error.message };
  // By the class itself: a TypeError is an Error too.
  if (errors.some((allowed) => error instanceof allowed)) return undefined;
  const what = error instanceof Error ? (error.stack ?? String(error)) : `threw ${String(error)}`;
  return { kind: "error", what };
}

function memoryInUse(): number {
  const { used_heap_size: heapBytes, external_memory: externalBytes } = getHeapStatistics();
  return heapBytes + externalBytes;
}

let gc: (() => void) | undefined;

function collectGarbage(): void {
  if (gc === undefined) {
    setFlagsFromString("--expose-gc");
    gc = runInNewContext("gc") as () => void;
  }
  // The second one waits for what the first one lets go of later.
  gc();
  gc();
}

/** The shortest input found that does the same, after some hundred tries. */
export async function shrink(decoder: Decoder, input: Uint8Array, { kind }: Finding): Promise<Uint8Array> {
  let smallest = input;
  const untilMs = performance.now() + shrinkMs;
  for (let size = Math.ceil(input.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < smallest.length && performance.now() < untilMs;) {
      const shorter = Uint8Array.from([...smallest.subarray(0, at), ...smallest.subarray(at + size)]);
      if ((await attempt(decoder, shorter))?.kind === kind) smallest = shorter;
      else at += size;
    }
  }
  return smallest;
}

const shrinkMs = 1_000;
