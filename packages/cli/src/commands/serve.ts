/**
 * `sotto serve`: runs a server until it is told to stop. Its first screen says all that one needs to know to use it: where it
 * is, how to recognise it, who may register, what to type next. It goes to standard output, log lines to standard error.
 */
import { existsSync } from "node:fs";
import type { Server } from "@sotto/server";
import type { Context } from "../context.ts";
import { serverFolder } from "../home-folder.ts";
import { write } from "../output.ts";
import { printableJson } from "../printable.ts";
import { shortTime } from "../times.ts";
import { version } from "../version.ts";

/** As typed: the server itself says what is wrong with a value. */
export interface ServeOptions {
  port: string;
  listen?: string;
  host: string[];
  data?: string;
  cert?: string;
  key?: string;
  registration: "open" | "invite" | "closed";
  localRegistration?: "on" | "off";
  strangers?: "allow" | "request";
  log: "pretty" | "json";
  metricsToken?: string;
  origin: string[];
  rateFactor?: string;
}

export async function serve(context: Context, options: ServeOptions): Promise<void> {
  const { environment, output } = context;
  const { createLog, createServer, runUntilStopped } = await import("@sotto/server");
  const log = createLog({
    format: options.log,
    write: (line) => environment.stderr.write(`${line}\n`),
    now: () => environment.now(),
    colours: environment.stderr.isTTY === true && !environment.variables["NO_COLOR"],
  });
  const { cert, key, host, origin, data, ...rest } = options;
  const config = {
    ...withoutUndefined(rest),
    ...withoutUndefined({ certFile: cert, keyFile: key }),
    hosts: host,
    origins: origin,
    data: serverFolder(data, environment.variables),
  };
  await using server = await createServer(pickSettings(config), { log });
  const facts = factsOf(server);
  const text =
    output.json || options.log === "json"
      ? `${printableJson(facts)}\n`
      : `${firstScreen(context, server).join("\n")}\n`;
  await write(environment.stdout, text);
  await runUntilStopped(server, log);
}

/** The shared flags are not the server's. */
function pickSettings<T extends object>(config: T): Omit<T, "home" | "json" | "quiet"> {
  const {
    home: _home,
    json: _json,
    quiet: _quiet,
    ...settings
  } = config as T & Record<"home" | "json" | "quiet", unknown>;
  return settings;
}

function withoutUndefined<T extends object>(values: T): T {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as T;
}

function factsOf(server: Server) {
  const {
    port,
    addresses,
    fingerprint,
    dataFolder: data,
    registration,
    localRegistrationUntil,
    firstInvite: invite,
  } = server;
  const localUntil = localRegistrationUntil === undefined ? undefined : new Date(localRegistrationUntil).toISOString();
  return {
    port,
    addresses,
    fingerprint,
    data,
    registration,
    localRegistrationUntil: localUntil,
    invite,
    pid: process.pid,
    version,
  };
}

function firstScreen(context: Context, server: Server): string[] {
  const { output, environment } = context;
  const label = (text: string) => `  ${output.style("dim", text.padEnd(14))}`;
  const lines = [
    `${output.style("bold", `Sotto ${version}`)} is running.`,
    "",
    ...server.addresses.map((address, index) => `${label(index === 0 ? "addresses" : "")}${address}`),
    `${label("fingerprint")}${server.fingerprint}`,
    `${label("data folder")}${server.dataFolder}`,
    `${label("registration")}${whoMayRegister(server, environment.now())}`,
  ];
  if (server.rateFactor !== 1)
    lines.push(`${label("rate limits")}${server.rateFactor} times as high as they should be`);
  if (server.firstInvite !== undefined) {
    lines.push(
      "",
      "An invite for one person, good for seven days (more: sotto invite):",
      "",
      `    ${output.style("bold", server.firstInvite)}`,
    );
  }
  return [...lines, "", ...nextSteps(server), "", "Ctrl-C stops the server.", ""];
}

function whoMayRegister(server: Server, nowMs: number): string {
  if (server.registration === "open") return "open: anyone who reaches this server";
  if (server.registration === "closed") return "closed";
  if (server.localRegistrationUntil === undefined) return "by invite";
  const until = shortTime(new Date(server.localRegistrationUntil).toISOString(), nowMs);
  return `by invite; from this machine itself (localhost) without one until ${until}`;
}

/** What to type in a second terminal, word by word. */
function nextSteps(server: Server): string[] {
  const [sotto, startClient] = existsSync("sotto") ? ["./sotto", "./startClient.sh"] : ["sotto", undefined];
  const client = (argument: { link: string } | "localhost") => {
    if (argument === "localhost") {
      return startClient ? `${startClient} localhost ${server.port}` : `${sotto} --server localhost:${server.port}`;
    }
    return startClient ? `${startClient} '${argument.link}'` : `${sotto} --invite '${argument.link}'`;
  };
  const here = server.registration === "open" || server.localRegistrationUntil !== undefined;
  const steps: string[] = [];
  if (here) {
    steps.push(
      "In a second terminal on this machine, the client:",
      `    ${client("localhost")}`,
      "or command by command, with a folder for each person:",
      `    ${sotto} register alice --server localhost:${server.port}`,
      `    ${sotto} register bob --server localhost:${server.port} --home ~/sotto-bob`,
      `    ${sotto} send @bob 'hello' && ${sotto} inbox --home ~/sotto-bob`,
    );
  }
  if (server.firstInvite !== undefined) {
    steps.push(
      `On any ${here ? "other " : ""}machine with Sotto, the client with the invite:`,
      `    ${client({ link: server.firstInvite })}`,
    );
  }
  if (steps.length === 0) steps.push("People who have an account open the client with:", `    ${client("localhost")}`);
  return steps;
}
