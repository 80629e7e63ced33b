/**
 * Runs OPAQUE and its Argon2id in a thread of its own, so that nothing else waits the third of a second that it takes. Both
 * halves of the conversation are here: the main thread imports `createPasswordWorker`, the worker starts this file.
 */
import { Worker, isMainThread, parentPort } from "node:worker_threads";
import { ClientError, type ClientFailureCode } from "../errors.ts";
import type { PasswordProtocol } from "../platform.ts";

type Call = {
  [Name in keyof PasswordProtocol]: { id: number; name: Name; argument: Parameters<PasswordProtocol[Name]>[0] };
}[keyof PasswordProtocol];
type Answer = { id: number; value: unknown } | { id: number; error: string; code: ClientFailureCode };

/** The second half of a login follows the first after a round trip to the server. */
const lingerMs = 2_000;

/** The thread starts with a call and ends, with all the memory that Argon2id takes, soon after the last answer. */
export function createPasswordWorker(): PasswordProtocol {
  let worker: Worker | undefined;
  let stopLingering: NodeJS.Timeout | undefined;
  let nextId = 0;
  const waitingById = new Map<number, { resolve(value: unknown): void; reject(error: unknown): void }>();

  function end(error?: unknown): void {
    for (const { reject } of waitingById.values()) reject(error);
    waitingById.clear();
    void worker?.terminate();
    worker = undefined;
  }

  function call(name: keyof PasswordProtocol, argument: unknown): Promise<unknown> {
    if (!worker) {
      worker = new Worker(new URL(import.meta.url));
      worker.on("message", (answer: Answer) => {
        const waiting = waitingById.get(answer.id);
        waitingById.delete(answer.id);
        if (waitingById.size === 0) {
          worker?.unref();
          stopLingering = setTimeout(end, lingerMs).unref();
        }
        if ("error" in answer) waiting?.reject(new ClientError(answer.code, answer.error));
        else waiting?.resolve(answer.value);
      });
      worker.on("error", end);
    }
    clearTimeout(stopLingering);
    worker.ref();
    const id = nextId++;
    const { promise, resolve, reject } = Promise.withResolvers<unknown>();
    waitingById.set(id, { resolve, reject });
    worker.postMessage({ id, name, argument });
    return promise;
  }

  return {
    startRegistration: (password) =>
      call("startRegistration", password) as ReturnType<PasswordProtocol["startRegistration"]>,
    finishRegistration: (options) =>
      call("finishRegistration", options) as ReturnType<PasswordProtocol["finishRegistration"]>,
    startLogin: (password) => call("startLogin", password) as ReturnType<PasswordProtocol["startLogin"]>,
    finishLogin: (options) => call("finishLogin", options) as ReturnType<PasswordProtocol["finishLogin"]>,
  };
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  port.on("message", (message: Call) => {
    void answer(message).then((reply) => port.postMessage(reply));
  });
}

async function answer(message: Call): Promise<Answer> {
  try {
    const { passwordProtocol } = await import("../password.ts");
    const method = passwordProtocol[message.name] as (argument: unknown) => Promise<unknown>;
    return { id: message.id, value: await method(message.argument) };
  } catch (error) {
    const code = error instanceof ClientError ? error.code : "unexpected";
    return { id: message.id, code, error: error instanceof Error ? error.message : String(error) };
  }
}
