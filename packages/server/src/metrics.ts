/**
 * Counters for operators in the Prometheus text format (`/metrics`): connections, requests by method and outcome, events,
 * commits of the store, delay of the event loop. No labels that name a person, a device or a conversation.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import type { EntryKind, FailureCode, MethodName } from "@sotto/protocol";

export type Outcome = FailureCode | "ok";

/** Why a socket was turned away before it could ask anything. */
export type TurnedAway = "too-many" | "origin" | "path" | "protocol" | "handshake";

export interface Metrics extends Disposable {
  turnedAway(why: TurnedAway): void;
  request(method: MethodName | "unknown", outcome: Outcome): void;
  /** A message or commit was accepted and is on disk. */
  appended(kind: EntryKind): void;
  /** Adds a value that is read when somebody asks. */
  gauge(name: string, help: string, read: () => number | Promise<number>): void;
  /** The page of `/metrics`. */
  render(): Promise<string>;
}

export function createMetrics(): Metrics {
  const requests = new Map<MethodName | "unknown", Map<Outcome, number>>();
  const turnedAway = new Map<TurnedAway, number>();
  const appended = { message: 0, commit: 0, reset: 0 };
  const gauges: { name: string; help: string; read: () => number | Promise<number> }[] = [];
  // Sampling wakes the process up; so it begins when somebody looks for the first time.
  let loopDelay: ReturnType<typeof monitorEventLoopDelay> | undefined;

  return {
    request(method, outcome) {
      let outcomes = requests.get(method);
      if (outcomes === undefined) requests.set(method, (outcomes = new Map()));
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    },
    turnedAway: (why) => void turnedAway.set(why, (turnedAway.get(why) ?? 0) + 1),
    appended(kind) {
      appended[kind]++;
    },
    gauge: (name, help, read) => void gauges.push({ name, help, read }),
    async render() {
      if (loopDelay === undefined) {
        loopDelay = monitorEventLoopDelay({ resolution: 20 });
        loopDelay.enable();
      }
      const lines: string[] = [];
      const add = (
        name: string,
        kind: "counter" | "gauge",
        help: string,
        values: readonly (readonly [string, number])[],
      ) => {
        lines.push(`# HELP sotto_${name} ${help}`, `# TYPE sotto_${name} ${kind}`);
        for (const [labels, value] of values) lines.push(`sotto_${name}${labels} ${value}`);
      };
      const byOutcome = [...requests].flatMap(([method, outcomes]) =>
        [...outcomes].map(([outcome, value]) => [`{method="${method}",outcome="${outcome}"}`, value] as const),
      );
      add("requests_total", "counter", "Requests answered, by method and outcome.", byOutcome);
      add(
        "sockets_turned_away_total",
        "counter",
        "Sockets refused before their first request, by reason.",
        [...turnedAway].map(([why, value]) => [`{why="${why}"}`, value] as const),
      );
      add("entries_appended_total", "counter", "Log entries accepted and on disk.", [
        ['{kind="message"}', appended.message],
        ['{kind="commit"}', appended.commit],
        ['{kind="reset"}', appended.reset],
      ]);
      for (const { name, help, read } of gauges) {
        // What cannot be read, while the disk is full say, is left out; the others are wanted then most of all.
        const value = await Promise.try(read).catch(() => undefined);
        if (value !== undefined) add(name, name.endsWith("_total") ? "counter" : "gauge", help, [["", value]]);
      }
      const seconds = (nanoseconds: number) => (Number.isFinite(nanoseconds) ? nanoseconds / 1e9 : 0);
      add("event_loop_delay_seconds", "gauge", "Delay of the event loop since the last look.", [
        ['{quantile="0.5"}', seconds(loopDelay.percentile(50))],
        ['{quantile="0.99"}', seconds(loopDelay.percentile(99))],
        ['{quantile="1"}', seconds(loopDelay.max)],
      ]);
      loopDelay.reset();
      add("resident_memory_bytes", "gauge", "Memory of the process.", [["", process.memoryUsage.rss()]]);
      return `${lines.join("\n")}\n`;
    },
    [Symbol.dispose]: () => void loopDelay?.disable(),
  };
}
