/**
 * The control socket: a Unix socket in the data folder through which programs of the same user ask the running server, one
 * JSON object a line and one back. Who may open the folder may ask; nothing else is checked. Requests: `invite` makes a link,
 * `status` says how the server is doing, `reports` shows what people reported and `deleteReports` puts it away.
 */
import { chmodSync, closeSync, openSync, rmSync } from "node:fs";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join, resolve } from "node:path";
import { namePattern } from "@sotto/protocol";
import * as v from "valibot";
import { inviteMaxima } from "./accounts/invites.ts";
import { describeError, type Log } from "./log.ts";
import { ServerError, systemCode } from "./server-error.ts";

const socketFile = "control.sock";
const lineBytesMax = 4096;
const answerTimeoutMs = 10_000;
// What an address of a Unix socket can hold, on the system that allows least.
const pathBytesMax = 103;

const countUpTo = (max: number) => v.optional(v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(max)));
const place = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const requests = v.variant("do", [
  v.strictObject({
    do: v.literal("invite"),
    uses: countUpTo(inviteMaxima.uses),
    expiresDays: countUpTo(inviteMaxima.expiresDays),
    from: v.optional(v.pipe(v.string(), v.regex(namePattern))),
  }),
  v.strictObject({ do: v.literal("status") }),
  v.strictObject({ do: v.literal("reports"), after: place }),
  v.strictObject({ do: v.literal("deleteReports"), upTo: place }),
]);

export type ControlRequest = v.InferOutput<typeof requests>;

export interface ServerStatus {
  readonly pid: number;
  readonly version: number;
  readonly startedAt: number;
  readonly addresses: readonly string[];
  readonly fingerprint: string;
  readonly registration: string;
  readonly connections: number;
  readonly devicesOnline: number;
  readonly accounts: number;
  readonly devices: number;
  readonly conversations: number;
  readonly entries: number;
  readonly bytes: number;
}

export interface ControlAnswers {
  /** Without a link: nobody has the name that it should introduce. */
  invite: { link?: string };
  status: ServerStatus;
  reports: { reports: readonly unknown[] };
  deleteReports: { deleted: number };
}

type Answering = {
  [Name in keyof ControlAnswers]: (request: Extract<ControlRequest, { do: Name }>) => Promise<ControlAnswers[Name]>;
};

/** Listens in the data folder. Without a socket the server runs all the same; the log says so. */
export async function openControl(folder: string, answers: Answering, log: Log): Promise<AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
    serve(socket, answers, log);
  });
  try {
    // Whoever holds the data folder's lock owns this name; what is there was left by a server that died.
    rmSync(join(folder, socketFile), { force: true });
    await withSocketPath(folder, (path) => listen(server, path));
    chmodSync(join(folder, socketFile), 0o600);
  } catch (error) {
    server.close();
    log.warn("no control socket, `sotto invite` works only while the server is stopped", describeError(error));
    return { async [Symbol.asyncDispose]() {} };
  }
  server.on("error", (error) => log.warn("cannot take a control connection", describeError(error)));
  server.unref();
  return {
    async [Symbol.asyncDispose]() {
      const isClosed = new Promise<void>((done) => server.close(() => done()));
      // Whoever asks and waits learns that the server is gone; the server waits for nobody.
      for (const socket of sockets) socket.destroy();
      await isClosed;
      rmSync(join(folder, socketFile), { force: true });
    },
  };
}

/**
 * Asks the server that runs on a data folder.
 * @throws ServerError `not-running` if none does, `internal` if it could not answer
 */
export async function askServer<Name extends keyof ControlAnswers>(
  dataFolder: string,
  request: Extract<ControlRequest, { do: Name }>,
): Promise<ControlAnswers[Name]> {
  const folder = resolve(dataFolder);
  const line = await withSocketPath(folder, (path) => ask(path, JSON.stringify(request))).catch((cause: unknown) => {
    if (cause instanceof ServerError) throw cause;
    throw new ServerError(
      "not-running",
      `no server runs on the data folder ${folder} (${systemCode(cause) ?? "no answer"})`,
      cause,
    );
  });
  const answer = JSON.parse(line) as { ok: true; result: ControlAnswers[Name] } | { ok: false; message: string };
  if (!answer.ok) throw new ServerError("internal", `the server could not answer: ${answer.message}`);
  return answer.result;
}

function serve(socket: Socket, answers: Answering, log: Log): void {
  socket.on("error", () => socket.destroy());
  socket.setTimeout(answerTimeoutMs, () => socket.destroy());
  socket.setEncoding("utf8");
  let waiting = "";
  socket.on("data", (text: string) => {
    waiting += text;
    if (waiting.length > lineBytesMax) {
      socket.destroy();
      return;
    }
    for (let end = waiting.indexOf("\n"); end >= 0; end = waiting.indexOf("\n")) {
      const line = waiting.slice(0, end);
      waiting = waiting.slice(end + 1);
      void answer(line, answers, log).then((reply) => socket.write(`${JSON.stringify(reply)}\n`));
    }
  });
}

async function answer(line: string, answers: Answering, log: Log): Promise<unknown> {
  try {
    const parsed = v.safeParse(requests, JSON.parse(line));
    if (!parsed.success) return { ok: false, message: "not a request that this server knows" };
    const request = parsed.output;
    return { ok: true, result: await answerTo(request, answers) };
  } catch (error) {
    log.error("a control request failed", describeError(error));
    return { ok: false, message: error instanceof SyntaxError ? "not JSON" : "it failed; the server's log says more" };
  }
}

function answerTo(request: ControlRequest, answers: Answering): Promise<unknown> {
  switch (request.do) {
    case "invite":
      return answers.invite(request);
    case "status":
      return answers.status(request);
    case "reports":
      return answers.reports(request);
    case "deleteReports":
      return answers.deleteReports(request);
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((done, fail) => {
    server.once("error", fail);
    server.listen(path, () => {
      server.off("error", fail);
      done();
    });
  });
}

function ask(path: string, line: string): Promise<string> {
  return new Promise((done, fail) => {
    const socket = connect(path, () => socket.write(`${line}\n`));
    let text = "";
    socket.setEncoding("utf8");
    socket.setTimeout(answerTimeoutMs, () =>
      socket.destroy(new ServerError("internal", "the server did not answer in time")),
    );
    socket.on("error", fail);
    socket.on("close", () => fail(new Error("closed without an answer")));
    socket.on("data", (part: string) => {
      text += part;
      if (!text.includes("\n")) return;
      done(text.slice(0, text.indexOf("\n")));
      socket.destroy();
    });
  });
}

/** Runs something with a path to the socket that a socket address can hold, also where the folder's own path is too long. */
async function withSocketPath<T>(folder: string, run: (path: string) => Promise<T>): Promise<T> {
  const path = join(folder, socketFile);
  if (Buffer.byteLength(path) <= pathBytesMax || process.platform !== "linux") return run(path);
  const handle = openSync(folder, "r");
  try {
    return await run(`/proc/self/fd/${handle}/${socketFile}`);
  } finally {
    closeSync(handle);
  }
}
