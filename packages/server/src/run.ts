/**
 * Runs a server as a process: stops it in good order on SIGINT and SIGTERM, at once on a second one, and ends the process with
 * a log line when a bug goes uncaught. For `sotto serve`; a program that embeds a server calls `createServer` alone.
 */
import { describeError, type Log } from "./log.ts";
import type { Server } from "./server.ts";

const exitAfterBug = 1;
const exitAfterSecondSignal = 130;

/** Resolves when the server has stopped because it was told to. */
export async function runUntilStopped(server: Server, log: Log): Promise<void> {
  const { promise: told, resolve: stop } = Promise.withResolvers<NodeJS.Signals>();
  let signals = 0;
  const onSignal = (signal: NodeJS.Signals) => {
    // Someone who asks twice does not want to wait.
    if (++signals > 1) process.exit(exitAfterSecondSignal);
    stop(signal);
  };
  const onBug = (error: unknown) => {
    log.error("a bug, the server ends; nothing that was acknowledged is lost", describeError(error));
    process.exit(exitAfterBug);
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("uncaughtException", onBug);
  try {
    const signal = await told;
    log.info("stopping", { signal });
    await server.stop();
    log.info("stopped");
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal).off("uncaughtException", onBug);
  }
}
