/** Files on their way: shown while a command waits for them, and stopped by Ctrl-C. */
import type { Client, ClientEvent } from "@sotto/client";
import type { Context } from "./context.ts";
import { ProgressLine } from "./progress-line.ts";
import { printable } from "./printable.ts";

type TransferEvent = Extract<ClientEvent, { type: "transfer" }>;

/** Shows what moves while `run` does; `lastMovedMs` says when something did. */
export async function showingTransfers<T>(
  context: Context,
  client: Client,
  run: (moves: { readonly lastMovedMs: number }) => Promise<T>,
): Promise<T> {
  const line = new ProgressLine(context, { isOftenQuick: true });
  const moves = { lastMovedMs: Number.NEGATIVE_INFINITY };
  const unsubscribe = client.subscribe((event) => {
    if (event.type !== "transfer") return;
    moves.lastMovedMs = context.environment.now();
    line.show(transferText(event));
  });
  try {
    return await run(moves);
  } finally {
    unsubscribe();
    line.end();
  }
}

/** "sending report.pdf: 34 % of 12 MB". */
export function transferText({ direction, name, bytes, of }: TransferEvent): string {
  const percent = of === 0 ? 100 : Math.floor((bytes / of) * 100);
  return `${direction === "up" ? "sending" : "fetching"} ${printable(name)}: ${percent} % of ${sizeText(of)}`;
}

const units = ["B", "kB", "MB", "GB"];

/** "812 B", "1.4 kB", "12 MB", as people know it from file managers. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 9.95 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`;
}
